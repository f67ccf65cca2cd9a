//! Which sockets are ready.
