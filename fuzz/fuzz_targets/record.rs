//! What a store keeps of a token and of a credential, in files or in Redis: as anybody may have left it there, and
//! sealed, as only who has the secret can.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokauth::seams::{Name, open_record, read_records, seal_record};

fuzz_target!(|bytes: &[u8]| {
    let (name, other) = (Name::new("token", &[1; 32]), Name::new("token", &[2; 32]));
    let text = String::from_utf8_lossy(bytes);
    let sealed = seal_record(&name, &text).expect("any text can be sealed");
    assert_eq!(open_record(&name, &sealed).as_deref(), Some(&*text), "what was sealed opens");
    assert_eq!(open_record(&other, &sealed), None, "and under its own name only");
    // As it is, behind the head of a sound one, and in its place.
    let head = &sealed[..sealed.len().min(8 + bytes.len() % 64)];
    let tail = &sealed[sealed.len().min(bytes.len())..];
    for document in [bytes.to_vec(), [head, bytes].concat(), [bytes, tail].concat()] {
        assert!(document == sealed || open_record(&name, &document).is_none(), "what nobody sealed does not open");
    }
    for (kind, again) in read_records(&text).into_iter().enumerate() {
        if let Some(again) = again {
            assert_eq!(read_records(&again)[kind].as_ref(), Some(&again), "what was written is read as it was");
        }
    }
});
