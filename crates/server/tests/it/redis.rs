//! A real redis-server, where one is installed: the judge of what Redis says.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::talk::{PATIENCE, Talk};

/// The versions whose words are ours; others say some things otherwise.
const VERSION: &str = " v=7.0.";

/// A redis-server on a Unix socket in a folder of its own; both go when it is dropped.
pub(crate) struct Redis {
    child: Child,
    folder: PathBuf,
}

impl Redis {
    /// Starts one, with a password or without; `None`, and a word about it, where it is not
    /// installed or another version.
    pub(crate) fn start(password: Option<&str>) -> Option<Self> {
        if let Ok(output) = Command::new("redis-server").arg("--version").output() {
            let version = String::from_utf8_lossy(&output.stdout);
            if !version.contains(VERSION) {
                eprintln!("skipped: {version}");
                return None;
            }
        }
        let unique = format!("morecore-redis-{}-{:x}", std::process::id(), fastrand::u64(..));
        let folder = std::env::temp_dir().join(unique);
        std::fs::create_dir(&folder).unwrap();
        let mut command = Command::new("redis-server");
        command.current_dir(&folder).stdout(Stdio::null()).stderr(Stdio::null());
        command.args(["--port", "0", "--databases", "1", "--save", "", "--rdbcompression", "no"]);
        command.arg("--unixsocket");
        command.arg(folder.join("redis.sock"));
        command.args(password.iter().flat_map(|password| ["--requirepass", password]));
        match command.spawn() {
            Err(error) => {
                eprintln!("skipped: redis-server does not start ({error})");
                std::fs::remove_dir_all(&folder).unwrap();
                None
            }
            Ok(child) => {
                let redis = Self { child, folder };
                redis.wait();
                Some(redis)
            }
        }
    }

    pub(crate) fn talk(&self) -> Talk {
        Talk::to_unix(&self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("redis.sock")
    }

    /// Waits until it lets us in.
    fn wait(&self) {
        let until = Instant::now() + PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < until, "redis-server does not start");
            std::thread::yield_now();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}
