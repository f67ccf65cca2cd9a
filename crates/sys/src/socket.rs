//! socket, bind, listen, accept, connect.
