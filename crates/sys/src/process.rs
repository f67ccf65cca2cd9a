//! fork, who am I, is it alive.
