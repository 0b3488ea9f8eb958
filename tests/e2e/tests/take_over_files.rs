//! A site that copied its files by hand comes over, and one that must do without this program goes back: with the folder
//! itself, and nothing that its links lead to.
#![expect(clippy::disallowed_methods, reason = "helpers of tests are test code")]

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use e2e::Site;
use e2e::by_hand::{commands, names, shell, succeeds};

const FOLDER: &str = "/opt/system/public/system";

const DATA_SETS: &str = "    - name: system-storage
      module: { name: files }
      targets: { server: { workload: deployment/system-app, container: system-master } }
";

/// Runs a shell line in the folder of the pod.
#[track_caller]
fn run(site: &Site, line: &str) -> String {
    let line = format!("cd {FOLDER} && {line}");
    site.in_pod("deployment/system-app", "system-master", &line)
}

fn seed(site: &Site) {
    run(
        site,
        "mkdir -p empty logos/deep 'a folder' && chmod 1751 empty && chmod 2770 'a folder'
         printf png > logos/acme.png && printf deep > logos/deep/file && chmod 440 logos/deep/file
         printf odd > \"$(printf 'latin \\344\\377')\" && printf odd > \"$(printf 'line\\nbreak \\\\ \"q\"')\"
         printf x > ./-rf && printf utf > 'Grüße' && : > zero
         ln logos/acme.png twin.png && ln -s logos/acme.png link && ln -s /etc/passwd absolute && ln -s ../../nowhere broken
         truncate -s 30M holes && printf data | dd of=holes bs=1 seek=20000000 conv=notrunc 2>/dev/null
         head -c 3000000 /dev/urandom > large.bin && touch -d '2001-02-03 04:05:06.789012345' zero",
    );
}

/// Kinds, modes, sizes, times, links, contents, holes, hard links.
const PROOF: &str = "LC_ALL=C; export LC_ALL
    find . -mindepth 1 ! -type l -printf '%P %y %m %s %T@ %n\\n' | sort
    find . -type l -printf '%P %l\\n' | sort
    find . -type f -print0 | sort -z | xargs -0 sha256sum
    find . -name 'twin.png' -samefile logos/acme.png
    if [ \"$(stat -c %b holes)\" -lt 2000 ]; then echo sparse; fi";

#[test]
fn a_folder_copied_by_hand_is_restored_and_an_exported_one_is_put_back_by_hand() {
    let site = Site::with(&["system-app"]);
    seed(&site);
    site.prepare(DATA_SETS);
    let before = run(&site, PROOF);
    assert!(before.contains("sparse") && before.contains("/etc/passwd"));

    // What `oc rsync POD:/opt/system/public/system ./system-storage` does where there is no rsync.
    let by_hand = site.path("by-hand");
    std::fs::create_dir_all(by_hand.join("system-storage")).expect("made");
    let copy = "kubectl -n 3scale exec deployment/system-app -c system-master -- tar -C /opt/system/public -S --format=posix -c -f - system | tar -x -p -f - -C system-storage";
    succeeds(&shell(&site, &by_hand, copy));
    let there = by_hand.join("system-storage/system");
    let copied = succeeds(&shell(&site, &there, PROOF));

    let imported = site.report(&["import", "by-hand"]).exits(0);
    let artifact = imported.data_set("system-storage")["artifacts"][0].clone();
    assert_eq!(artifact["bytes"], 34_457_300, "{imported}");
    let evidence = artifact["evidence"].to_string();
    for expected in [
        "imported from the folder system-storage/system",
        "no pod was asked",
    ] {
        assert!(evidence.contains(expected), "`{expected}`: {evidence}");
    }
    let _verified = site.report(&["verify", "latest"]).exits(0);
    run(&site, "find . -mindepth 1 -delete");
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(run(&site, PROOF), before);

    let _exported = site
        .report(&["export", "latest", "--to", "exported"])
        .exits(0);
    let place = site.path("exported");
    assert_eq!(
        names(&place),
        ["RESTORE.md", "system-storage"].map(str::to_owned).into()
    );
    let mode = place.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let exported = succeeds(&shell(&site, &place.join("system-storage/system"), PROOF));
    assert_eq!(exported, copied);

    // As one stream, for the real tar.
    let stream = site.path("stream");
    std::fs::create_dir(&stream).expect("made");
    let archive = std::fs::File::create(site.path("export.tar")).expect("made");
    let status = site
        .command(&["export", "latest", "--to", "-"])
        .stdout(archive)
        .status();
    assert!(status.expect("ended").success());
    succeeds(&shell(&site, &stream, "tar -xpf ../export.tar"));
    assert_eq!(names(&stream), names(&place));
    let streamed = succeeds(&shell(&site, &stream.join("system-storage/system"), PROOF));
    assert_eq!(streamed, copied);

    // The guide is followed to the letter; it ends with the replicas at 0.
    run(&site, "find . -mindepth 1 -delete");
    let guide = std::fs::read_to_string(place.join("RESTORE.md")).expect("read");
    if let Some(folder) = std::env::var_os("COFFERDAM_TEST_KEEP") {
        let kept = Path::new(&folder).join("RESTORE-files.md");
        std::fs::write(kept, &guide).expect("written");
    }
    succeeds(&shell(&site, &place, &commands(&guide)));
    site.kubectl(&["scale", "deployment/system-app", "--replicas=1"]);
    site.kubectl(&[
        "rollout",
        "status",
        "deployment/system-app",
        "--timeout=120s",
    ]);
    assert_eq!(run(&site, PROOF), before);

    // There and back again: the same tree.
    let again = site.report(&["import", "exported"]).exits(0);
    let digest = |answer: &e2e::Answer| {
        let evidence = answer.data_set("system-storage")["artifacts"][0]["evidence"].clone();
        let pairs = evidence.as_array().expect("evidence").clone();
        pairs.into_iter().find(|pair| pair[0] == "tree-sha256")
    };
    assert!(digest(&again).is_some());
    assert_eq!(digest(&again), digest(&imported));
}

/// A folder for an import with one good file.
fn good(site: &Site, name: &str) -> std::path::PathBuf {
    let folder = site.path(name);
    std::fs::create_dir_all(folder.join("system-storage")).expect("made");
    std::fs::write(folder.join("system-storage/file"), "kept").expect("written");
    folder
}

#[test]
fn what_stands_in_the_way_of_a_folder_is_named_and_nothing_is_imported() {
    let site = Site::without_cluster();
    site.prepare(DATA_SETS);
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 6] = [
        (
            "link",
            |folder| {
                std::fs::rename(folder.join("system-storage"), folder.join("elsewhere"))
                    .expect("renamed");
                symlink("elsewhere", folder.join("system-storage")).expect("linked");
            },
            "a symbolic link is not followed",
        ),
        (
            "file",
            |folder| {
                std::fs::remove_dir_all(folder.join("system-storage")).expect("removed");
                std::fs::write(folder.join("system-storage"), "x").expect("written");
            },
            "`system-storage` is no folder",
        ),
        (
            "pipe",
            |folder| {
                let pipe = folder.join("system-storage/pipe");
                nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
            },
            "`pipe` is a pipe",
        ),
        (
            "socket",
            |folder| {
                let place = folder.join("system-storage/socket");
                drop(std::os::unix::net::UnixListener::bind(place).expect("bound"));
            },
            "`socket` is a socket",
        ),
        (
            "both",
            |folder| std::fs::create_dir(folder.join("system")).expect("made"),
            "leave only one of them",
        ),
        (
            "neither",
            |folder| {
                std::fs::remove_dir_all(folder.join("system-storage")).expect("removed");
            },
            "looked for `system-storage/`, `system/`",
        ),
    ];
    for (name, spoil, expected) in cases {
        let folder = good(&site, name);
        spoil(&folder);
        let answer = site.cofferdam(&["import", name]).exits(2);
        let _said = answer.says(expected).says("hint");
        assert_eq!(site.runs().len(), 0, "{name}");
    }
}

#[test]
fn a_link_in_a_folder_is_kept_and_what_it_leads_to_is_not() {
    let site = Site::without_cluster();
    site.prepare(DATA_SETS);
    let folder = good(&site, "files").join("system-storage");
    let outside = site.path("outside");
    std::fs::create_dir(&outside).expect("made");
    std::fs::write(outside.join("precious"), "precious words").expect("written");
    symlink(&outside, folder.join("folder")).expect("linked");
    symlink(outside.join("precious"), folder.join("precious")).expect("linked");
    let odd = std::ffi::OsStr::from_bytes(b"\xff\x1b[2J\n..");
    std::fs::write(folder.join(odd), "odd").expect("written");
    let imported = site.report(&["import", "files"]).exits(0);
    let bytes = imported.data_set("system-storage")["artifacts"][0]["bytes"].clone();
    assert_eq!(bytes, 7, "{imported}");
    let _exported = site.cofferdam(&["export", "--to", "exported"]).exits(0);
    let exported = site.path("exported/system-storage/system");
    for (name, leads) in [
        ("folder", outside.clone()),
        ("precious", outside.join("precious")),
    ] {
        assert_eq!(
            std::fs::read_link(exported.join(name)).expect("a link"),
            leads
        );
    }
    assert_eq!(std::fs::read(exported.join(odd)).expect("there"), b"odd");
    assert_eq!(names(&outside).len(), 1);
    let found = shell(&site, &site.path("exported"), "grep -r 'precious words' .");
    assert!(!found.status.success(), "{found:?}");
}

#[test]
fn a_damaged_tree_ends_the_export_and_nothing_of_it_stays() {
    let site = Site::without_cluster();
    site.prepare(DATA_SETS);
    let folder = good(&site, "files");
    let noise = "for i in 1 2 3; do head -c 3000000 /dev/urandom > system-storage/$i; done";
    succeeds(&shell(&site, &folder, noise));
    let _imported = site.cofferdam(&["import", "files"]).exits(0);
    let before = names(site.folder());
    let packs = "find repository/data -type f -size +1000k | sort";
    for pack in succeeds(&shell(&site, site.folder(), packs)).lines() {
        let path = site.path(pack);
        let mut bytes = std::fs::read(&path).expect("read");
        let half = bytes.len() / 2;
        bytes[half] ^= 1;
        std::fs::write(&path, bytes).expect("written");
    }
    let _damaged = site.cofferdam(&["export", "--to", "damaged"]).exits(1);
    assert_eq!(names(site.folder()), before);
    let output = site.command(&["export", "--to", "-"]).output();
    assert_eq!(output.expect("ended").status.code(), Some(1));
}
