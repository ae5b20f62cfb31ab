//! Signals to children.
#![allow(unreachable_pub)] // a part of several test programs

use std::process::Child;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

/// A child that is to stop has stopped when this returns: the signal takes effect some time after it was sent, and till
/// then other threads than the one that has it to handle go on.
pub fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    kill_process(pid, signal).unwrap();
    if signal == Signal::STOP {
        retry_on_intr(|| waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED)).unwrap();
    }
}
