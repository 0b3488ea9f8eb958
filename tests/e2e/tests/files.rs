//! The files of an application: kept with all that is odd about them, only what changed, and brought back within their
//! folder.
#![expect(clippy::indexing_slicing, reason = "helpers of tests are test code")]

use e2e::Site;
use local_cluster::faults::{Fault, Rule};

const FOLDER: &str = "/opt/system/public/system";

fn data_set(parameters: &str) -> String {
    format!(
        "    - name: system-storage
      module: {{ name: files }}
      targets: {{ server: {{ workload: deployment/system-app, container: system-master }} }}
      parameters: {{ folder: {FOLDER}{parameters} }}
"
    )
}

/// Runs a shell line in the folder.
#[track_caller]
fn run(site: &Site, line: &str) -> String {
    let line = format!("cd {FOLDER} && {line}");
    site.in_pod("deployment/system-app", "system-master", &line)
}

/// Everything that is hard to keep.
fn seed(site: &Site) {
    run(
        site,
        "mkdir -p empty logos/deep 'a folder' shared && chmod 1751 empty && chmod 2770 shared
         printf png > logos/acme.png && printf deep > logos/deep/file && chmod 600 logos/deep/file
         printf odd > \"$(printf 'latin \\344\\377')\" && printf odd > \"$(printf 'line\\nbreak \\\\ \"q\"')\"
         printf x > ./-rf && printf utf > 'Grüße' && : > zero
         ln logos/acme.png twin.png && ln -s logos/acme.png link && ln -s /etc/passwd absolute && ln -s ../../nowhere broken
         truncate -s 30M holes && printf data | dd of=holes bs=1 seek=20000000 conv=notrunc 2>/dev/null
         head -c 3000000 /dev/urandom > large.bin && chown 1234:5678 large.bin && touch -d '2001-02-03 04:05:06.789012345' zero",
    );
    // Files changed within the second of a listing are read again at the next: the story is about the others.
    run(site, "sleep 2.1");
}

/// What has to be the same: kinds, modes, sizes, times, links, contents, holes, hard links.
fn proof(site: &Site) -> String {
    run(
        site,
        "LC_ALL=C; export LC_ALL
         find . -mindepth 1 ! -type l -printf '%P %y %m %s %T@ %n\\n' | sort
         find . -type l -printf '%P %l\\n' | sort
         find . -type f -print0 | sort -z | xargs -0 sha256sum
         find . -name 'twin.png' -samefile logos/acme.png
         [ \"$(stat -c %b holes)\" -lt 2000 ] && echo sparse",
    )
}

fn evidence(answer: &e2e::Answer, key: &str) -> u64 {
    let data_set = answer.data_set("system-storage");
    let pairs = data_set["artifacts"][0]["evidence"].clone();
    let pairs = pairs.as_array().expect("evidence");
    let pair = pairs.iter().find(|pair| pair[0] == key).expect("the key");
    pair[1].as_str().expect("a text").parse().expect("a number")
}

#[test]
fn files_come_back_as_they_were_and_only_changes_are_read() {
    let site = Site::start();
    seed(&site);
    site.prepare(&data_set(""));
    let before = proof(&site);
    assert!(
        before.contains("sparse") && before.contains("twin.png"),
        "{before}"
    );
    let first = site.report(&["backup"]).exits(0);
    assert!(evidence(&first, "read-bytes") > 3_000_000, "{first}");

    let second = site.report(&["backup"]).exits(0);
    assert_eq!(evidence(&second, "read-bytes"), 0, "{second}");
    run(
        &site,
        "printf changed > logos/deep/file && printf new > new && rm -- ./-rf && sleep 2.1",
    );
    let third = site.report(&["backup"]).exits(0);
    assert_eq!(evidence(&third, "read-bytes"), 10, "{third}");
    let changed = proof(&site);
    let _verified = site.report(&["verify", "latest"]).exits(0);
    let _checked = site.restic(&["check", "--read-data"]);

    // Everything is lost, and something else is there.
    run(
        &site,
        "find . -mindepth 1 -delete && mkdir logos && printf stranger > logos/stranger",
    );
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert!(
        run(&site, "cat logos/stranger").contains("stranger"),
        "it is not ours to remove"
    );
    run(&site, "rm logos/stranger && touch -r logos/acme.png .");
    assert_eq!(
        without_times_of_folders(&proof(&site)),
        without_times_of_folders(&changed)
    );

    // The first state, with what came later removed.
    site.prepare(&data_set(", delete-extraneous: \"yes\""));
    run(
        &site,
        "printf stranger > stranger && mkdir -p strange/folder",
    );
    let runs = site.runs();
    let oldest = runs.last().expect("three runs")["run"]
        .as_str()
        .expect("an id")
        .to_owned();
    let _restored = site.report(&["restore", &oldest, "--yes"]).exits(0);
    assert_eq!(proof(&site), before);
}

/// Removing a file by hand changes the time of its folder.
fn without_times_of_folders(proof: &str) -> Vec<String> {
    let lines = proof.lines();
    lines
        .map(|line| match line.split_once(" d ") {
            Some((name, rest)) => format!("{name} {:?}", rest.split(' ').next()),
            None => line.to_owned(),
        })
        .collect()
}

#[test]
fn a_restore_never_leaves_its_folder() {
    let site = Site::start();
    run(
        &site,
        "mkdir -p logos && printf saved > logos/file && printf saved > plain",
    );
    site.prepare(&data_set(""));
    let _kept = site.report(&["backup"]).exits(0);
    run(
        &site,
        "mkdir -p /tmp/outside && printf precious > /tmp/outside/file && printf precious > /tmp/outside/plain
         rm -r logos plain && ln -s /tmp/outside logos && ln -s /tmp/outside/plain plain",
    );
    let refused = site.cofferdam(&["restore", "latest", "--yes"]).exits(2);
    let _told = refused.says("`logos` is a link instead of a folder");
    assert_eq!(
        run(&site, "readlink logos plain"),
        "/tmp/outside\n/tmp/outside/plain\n",
        "nothing was changed"
    );

    site.prepare(&data_set(", delete-extraneous: \"yes\""));
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(run(&site, "cat logos/file plain"), "savedsaved");
    assert_eq!(
        run(&site, "cat /tmp/outside/file /tmp/outside/plain"),
        "preciousprecious"
    );
}

#[test]
fn single_files_come_back_and_others_stay() {
    let site = Site::start();
    run(
        &site,
        "mkdir -p logos styles && printf saved > logos/acme.png && printf saved > styles/a.css && printf saved > top",
    );
    site.prepare(&data_set(""));
    let _kept = site.report(&["backup"]).exits(0);
    run(
        &site,
        "rm -r logos && printf mine > styles/a.css && printf mine > top",
    );
    site.prepare(&data_set(", only: \"logos:top\""));
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(
        run(&site, "cat logos/acme.png styles/a.css top"),
        "savedminesaved"
    );
    site.prepare(&data_set(", only: \"../../etc\""));
    let refused = site.cofferdam(&["restore", "latest", "--yes"]);
    let _told = refused.says("no path within a tree");
}

#[test]
fn twenty_thousand_unchanged_files_take_seconds() {
    let site = Site::start();
    run(
        &site,
        "i=0; while [ $i -lt 200 ]; do mkdir -p \"$i\"; j=0; while [ $j -lt 100 ]; do echo \"content $i $j\" > \"$i/$j\"; j=$((j+1)); done; i=$((i+1)); done; sleep 2.1",
    );
    site.prepare(&data_set(""));
    let first = site.report(&["backup"]).exits(0);
    assert_eq!(evidence(&first, "files"), 20_000);
    let second = site.report(&["backup"]).exits(0);
    assert_eq!(evidence(&second, "unchanged"), 20_000, "{second}");
    let milliseconds =
        |answer: &e2e::Answer| answer.data_set("system-storage")["milliseconds"].clone();
    println!(
        "20,000 files: first {} ms, unchanged {} ms",
        milliseconds(&first),
        milliseconds(&second)
    );
    let unchanged = milliseconds(&second).as_u64().expect("a number");
    // The target is 3 s on a machine that does nothing else; this bound is for one that does.
    assert!(unchanged < 20_000, "{unchanged} ms");
}

#[test]
fn a_busy_file_is_named_and_nothing_is_kept() {
    let site = Site::start();
    run(&site, "printf calm > calm");
    site.prepare(&data_set(""));
    run(
        &site,
        "(while [ ! -e stop ]; do echo line >> busy.log; done) > /dev/null 2>&1 &",
    );
    let refused = site.cofferdam(&["backup"]);
    run(&site, "touch stop");
    let _told = refused.exits(1).says("`busy.log`");
    assert!(site.runs().iter().all(|run| run["whole"] == false));
}

#[test]
fn a_disk_without_room_is_refused_before_anything_is_changed() {
    let site = Site::local_with(&["system-app"]);
    run(
        &site,
        "head -c 6000000 /dev/urandom > large && printf saved > small",
    );
    site.prepare(&data_set(""));
    let _kept = site.report(&["backup"]).exits(0);
    let limit = Rule::new(Fault::LimitVolume { bytes: 4 << 20 }).named("system-storage");
    let fault = site.fault(&limit);
    site.kubectl(&["rollout", "restart", "deployment/system-app"]);
    site.kubectl(&[
        "rollout",
        "status",
        "deployment/system-app",
        "--timeout=120s",
    ]);
    fault.has_struck();
    run(&site, "printf old > small");
    let refused = site.cofferdam(&["restore", "latest", "--yes"]).exits(1);
    let _told = refused.says("has room for").says("nothing was changed");
    assert_eq!(run(&site, "ls; cat small"), "small\nold");
    // What fits is brought back all the same.
    site.prepare(&data_set(", only: small"));
    let _restored = site.report(&["restore", "latest", "--yes"]).exits(0);
    assert_eq!(run(&site, "ls; cat small"), "small\nsaved");
}
