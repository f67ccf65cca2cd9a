//! shmget, shmat, shmdt, shmctl.
