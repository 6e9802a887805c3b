//! What a layer removes of the layers below it (image-spec, layer.md, "Whiteouts"). It must not
//! remove what the layer itself brings, in whatever order the two stand.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use super::tree::{Tree, split};
use super::{Meaning, UnpackError, refused};

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names with this prefix are notes of aufs, and no files.
const NOTE: &[u8] = b".wh..wh.";

/// One layer.
pub struct Layer {
    meaning: Meaning,
    /// Nothing lies below it: nothing to remove, nothing to remember.
    lowest: bool,
    /// Keys of the paths that it brought, with their parents. Sixteen bytes each: the only memory
    /// that grows with the number of files. Keyed at random, so that no archive can collide them.
    own: HashSet<u128>,
    /// Keys of what it removed, for overlayfs.
    removed: HashSet<u128>,
    hashers: (RandomState, RandomState),
}

impl Layer {
    pub fn new(meaning: Meaning, lowest: bool) -> Self {
        Self {
            meaning,
            lowest: lowest && meaning == Meaning::Layer,
            own: HashSet::new(),
            removed: HashSet::new(),
            hashers: (RandomState::new(), RandomState::new()),
        }
    }

    fn key(&self, path: &[u8]) -> u128 {
        let high = u128::from(self.hashers.0.hash_one(path));
        high << 64 | u128::from(self.hashers.1.hash_one(path))
    }

    fn is_own(&self, path: &[u8]) -> bool {
        self.own.contains(&self.key(path))
    }

    /// The layer brings `path`.
    pub fn note(&mut self, path: &[u8]) {
        let mut path = path;
        let keep = !self.lowest && self.meaning != Meaning::Tree;
        while keep && !path.is_empty() && self.own.insert(self.key(path)) {
            path = split(path).0;
        }
    }

    /// Does what a whiteout asks for; false for any other path.
    pub fn whiteout(&mut self, tree: &mut Tree, path: &[u8]) -> Result<bool, UnpackError> {
        let (parent, name) = split(path);
        let Some(hidden) = name.strip_prefix(PREFIX) else {
            return Ok(false);
        };
        if name == OPAQUE {
            match self.meaning {
                Meaning::OverlayLayer => tree.mark_opaque(parent)?,
                _ if !self.lowest => self.clear(tree, parent)?,
                _ => {}
            }
            return Ok(true);
        }
        if name.starts_with(NOTE) {
            return Ok(true);
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(refused(path, "whiteout of no name"));
        }
        let mut target = parent.to_vec();
        if !parent.is_empty() {
            target.push(b'/');
        }
        target.extend(hidden);
        match self.meaning {
            // Its own file hides the lower one anyway, its own directory has to be told.
            Meaning::OverlayLayer if self.is_own(&target) => {
                if tree.is_dir(&target)? {
                    tree.mark_opaque(&target)?;
                }
            }
            Meaning::OverlayLayer => {
                tree.mark_removed(&target)?;
                self.removed.insert(self.key(&target));
            }
            _ if self.lowest => {}
            _ if self.is_own(&target) => self.clear(tree, &target)?,
            _ => tree.remove(&target)?,
        }
        Ok(true)
    }

    /// A directory was made at `path`. Where the layer removed one before, it must not show through.
    pub fn made_dir(&self, tree: &mut Tree, path: &[u8]) -> Result<(), UnpackError> {
        match self.removed.contains(&self.key(path)) {
            true => tree.mark_opaque(path),
            false => Ok(()),
        }
    }

    /// Removes from a directory what the layer didn't bring.
    fn clear(&self, tree: &mut Tree, path: &[u8]) -> Result<(), UnpackError> {
        for (name, is_dir) in tree.names(path)? {
            let mut child = path.to_vec();
            if !path.is_empty() {
                child.push(b'/');
            }
            child.extend(name);
            match self.is_own(&child) {
                true if is_dir => self.clear(tree, &child)?,
                true => {}
                false => tree.remove(&child)?,
            }
        }
        Ok(())
    }
}
