//! Trees: equal small nodes, built depth first, walked, and dropped.
//!
//! Asks: what does a node cost, and do nodes that are made together lie together? Like the
//! benchmark `binary-trees` and `glibc-thread`'s simple loops.

use super::Measure;

/// A tree of this depth has 2^21 nodes less one, 48 MiB where a node costs 24 bytes.
const DEPTH: u32 = 20;

/// Depth of the many small trees beside it.
const SMALL_DEPTH: u32 = 10;

/// Small trees.
const SMALL: usize = 3_000;

/// A node: two words, and nothing else to look at.
struct Node {
    left: Option<Box<Node>>,
    right: Option<Box<Node>>,
}

pub(super) fn play(measure: Measure) -> u64 {
    // A part of a tree is a tree that is so many levels lower.
    let stays = Node::tree(DEPTH - measure.part.ilog2());
    let small: u64 = (0..measure.share(SMALL)).map(|_| Node::tree(SMALL_DEPTH).count()).sum();
    small + stays.count()
}

impl Node {
    /// A full tree.
    fn tree(depth: u32) -> Node {
        let child = || (depth > 0).then(|| Box::new(Node::tree(depth - 1)));
        Node { left: child(), right: child() }
    }

    /// How many nodes there are.
    fn count(&self) -> u64 {
        1 + [&self.left, &self.right].into_iter().flatten().map(|node| node.count()).sum::<u64>()
    }
}
