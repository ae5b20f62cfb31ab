//! What a cached call cannot do without, alone: functions of C's kind, compiled with the library's own profile.

use std::hint::black_box;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use rustix::time::{ClockId, clock_gettime};

pub struct Floor {
    snapshot: ArcSwap<Snapshot>,
    token: Arc<[u8]>,
    lock: Mutex<u64>,
}

struct Snapshot {
    valid_until: [i64; 2],
    text: Vec<u8>,
}

impl Floor {
    pub fn new(bytes: usize) -> Floor {
        let snapshot = Snapshot { valid_until: [i64::MAX; 2], text: vec![b'x'; bytes] };
        Floor { snapshot: Arc::new(snapshot).into(), token: Arc::new([]), lock: Mutex::new(0) }
    }

    /// The two coarse clocks.
    #[inline(never)]
    pub extern "C" fn clocks(&self) {
        black_box(now());
    }

    /// The same, a valid snapshot, and the copy of its text.
    #[inline(never)]
    pub extern "C" fn copy_valid(&self, buffer: &mut [u8; 8192]) -> bool {
        self.valid(|snapshot| buffer[..snapshot.text.len()].copy_from_slice(&snapshot.text)).is_some()
    }

    /// The two coarse clocks, and a reference taken and given back.
    #[inline(never)]
    pub extern "C" fn count(&self) {
        black_box(now());
        drop(black_box(self.token.clone()));
    }

    #[inline(always)]
    fn valid<T>(&self, read: impl FnOnce(&Snapshot) -> T) -> Option<T> {
        let now = now();
        let snapshot = self.snapshot.load();
        let valid = now[0] < snapshot.valid_until[0] && now[1] < snapshot.valid_until[1];
        valid.then(|| read(&snapshot))
    }

    /// The clock that counts suspend.
    #[inline(never)]
    pub extern "C" fn boottime(&self) {
        black_box(clock_gettime(ClockId::Boottime));
    }

    /// The copy alone.
    #[inline(never)]
    pub extern "C" fn copy(&self, from: &[u8; 1200], to: &mut [u8; 8192]) {
        to[..1200].copy_from_slice(black_box(from));
    }

    /// A lock taken and given back.
    #[inline(never)]
    pub extern "C" fn lock(&self) {
        *self.lock.lock().unwrap() += 1;
    }
}

fn now() -> [i64; 2] {
    [ClockId::MonotonicCoarse, ClockId::RealtimeCoarse].map(|clock| clock_gettime(clock).tv_sec)
}
