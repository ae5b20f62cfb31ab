//! Real servers, whose time of day is the simulation's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Connection, FromRedisValue, cmd};
use tokauth::seams::{Store, Turn, redis_store};

use super::engine::Engine;
use super::machine::{Machine, Truth, off_by};
use super::store::Server;

struct Real {
    engine: Engine,
    truth: Arc<Truth>,
    ahead: AtomicI64,
    connection: Mutex<Connection>,
}

pub fn engines(truth: &Arc<Truth>, count: u64) -> Vec<Arc<dyn Server>> {
    (0..count).map(|_| engine(truth)).collect()
}

fn engine(truth: &Arc<Truth>) -> Arc<dyn Server> {
    let engine = Engine::start();
    let connection = Mutex::new(engine.connection());
    let real = Arc::new(Real { engine, truth: truth.clone(), ahead: AtomicI64::new(0), connection });
    let watcher = Arc::downgrade(&real);
    truth.watch(Box::new(move |now| {
        watcher.upgrade().iter().for_each(|real| real.show(now));
    }));
    real
}

impl Real {
    fn show(&self, now: Duration) {
        self.engine.stop_clock_at(off_by(now, i128::from(self.ahead.load(Ordering::SeqCst)) * 1_000_000));
    }

    fn tell<T: FromRedisValue>(&self, command: &redis::Cmd) -> T {
        command.query(&mut *self.connection.lock().unwrap()).unwrap()
    }
}

impl Server for Real {
    fn store(&self, machine: &Arc<Machine>) -> Arc<dyn Store> {
        Arc::new(redis_store(&self.engine.url(), machine.clone()).unwrap())
    }

    fn set_clock(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::SeqCst);
        self.show(self.truth.now());
    }

    fn lose_all(&self) {
        self.tell::<()>(&cmd("FLUSHALL"));
    }

    /// The lease stays, which a drop here would end.
    fn abandon(&self, turn: Box<dyn Turn>) {
        let key = format!("{turn:?}");
        let holder: Option<String> = self.tell(cmd("GET").arg(&key));
        let left: i64 = self.tell(cmd("PTTL").arg(&key));
        drop(turn);
        if let Some(holder) = holder {
            self.tell::<()>(cmd("SET").arg(&key).arg(holder).arg("PX").arg(left.max(1)));
        }
    }
}
