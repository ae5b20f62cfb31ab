//! Documents in memory.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Deadline;
use crate::error::Error;
use crate::sync::{Mutex, MutexGuard, PoisonError};

use super::{Change, Name, Store, Turn};

/// A store that ends with its process, and that nobody else sees: for tests of what stands on a store.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Documents>>);

#[derive(Debug, Default)]
struct Documents {
    documents: HashMap<Name, Vec<u8>>,
    aside: HashMap<Name, Vec<u8>>,
    turns: Vec<Name>,
}

#[derive(Debug)]
struct MemoryTurn(Memory, Name);

impl Turn for MemoryTurn {}

impl Drop for MemoryTurn {
    fn drop(&mut self) {
        self.0.locked().turns.retain(|name| *name != self.1);
    }
}

impl Memory {
    /// Each document and its name.
    pub fn documents(&self) -> Vec<(String, Vec<u8>)> {
        let documents = &self.locked().documents;
        documents.iter().map(|(name, bytes)| (name.as_str().to_owned(), bytes.clone())).collect()
    }

    /// Puts a document where one is, as a hand or a disk might.
    pub fn put(&self, name: &str, document: &[u8]) {
        let documents = &mut self.locked().documents;
        documents
            .iter_mut()
            .filter(|(known, _)| known.as_str() == name)
            .for_each(|(_, bytes)| *bytes = document.to_vec());
    }

    /// What was set aside, by name.
    pub fn aside(&self) -> Vec<(String, Vec<u8>)> {
        self.locked().aside.iter().map(|(name, bytes)| (name.as_str().to_owned(), bytes.clone())).collect()
    }

    fn locked(&self) -> MutexGuard<'_, Documents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for Memory {
    fn load(&self, name: &Name) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.locked().documents.get(name).cloned())
    }

    fn change(
        &self,
        name: &Name,
        _deadline: &Deadline,
        change: &mut dyn FnMut(Option<&[u8]>) -> Change,
    ) -> Result<(), Error> {
        let documents = &mut *self.locked();
        let before = documents.documents.get(name);
        match change(before.map(Vec::as_slice)) {
            Change::Keep => {}
            Change::Put(bytes) => drop(documents.documents.insert(name.clone(), bytes)),
            Change::Remove => drop(documents.documents.remove(name)),
            Change::SetAside => {
                if let Some(bytes) = documents.documents.remove(name) {
                    documents.aside.insert(name.clone(), bytes);
                }
            }
        }
        Ok(())
    }

    fn turn(&self, name: &Name, deadline: &Deadline) -> Result<Box<dyn Turn>, Error> {
        loop {
            let mut documents = self.locked();
            if !documents.turns.contains(name) {
                documents.turns.push(name.clone());
                return Ok(Box::new(MemoryTurn(self.clone(), name.clone())));
            }
            drop(documents);
            if deadline.remaining().is_zero() {
                return Err(Error::store_timeout("others had their turn for too long"));
            }
            deadline.pause(Duration::from_millis(1));
        }
    }
}
