//! `morecore demo`, whole: it needs nothing, ends well and leaves nothing behind.

use crate::support::{ask, morecore, told};

#[test]
fn the_demo_shows_everything_and_clears_up() {
    let folder = std::env::temp_dir().join(format!("morecore-test-{}-demo", std::process::id()));
    let output = morecore().args(["demo", "--brief", "--out"]).arg(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}\n{said}", output.status);
    for picture in ["footprint.svg", "memory.svg", "fits.html"] {
        let text = std::fs::read_to_string(folder.join(picture)).unwrap();
        assert!(text.contains("</svg>"), "{picture}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
    let pid = said.lines().find_map(|line| line.split("store=demo-").nth(1)).unwrap();
    let name = format!("demo-{}", pid.split(' ').next().unwrap());
    assert!(!told(&ask("ls")).contains(&name), "{name} is left");
}
