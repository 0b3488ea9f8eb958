//! Whether data lie in an emptyDir, by the pod's own list of mounts.
//!
//! The kubelet binds each volume from a folder whose path names its kind:
//! `.../pods/UID/volumes/kubernetes.io~empty-dir/NAME`. Where that cannot be seen (an emptyDir in
//! memory, another runtime) the answer is that nothing is known, never that the data are safe.

/// What is between the pod's volumes and the name of an emptyDir.
const EMPTY_DIR: &str = "kubernetes.io~empty-dir";

/// Whether the folder lies in an emptyDir. `false` is: not seen to.
pub(crate) fn lies_in_an_empty_dir(mountinfo: &str, folder: &str) -> bool {
    let mounts = mountinfo.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        holds(place, folder).then_some((place.len(), root))
    });
    // The longest place is the mount that counts; of two in one place the later.
    let Some((_, root)) = mounts.max_by_key(|(length, _)| *length) else {
        return false;
    };
    root.split('/').any(|part| part == EMPTY_DIR)
}

fn holds(place: &str, folder: &str) -> bool {
    place == "/"
        || folder
            .strip_prefix(place)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "1 0 0:100 / / rw - overlay overlay rw
2 1 8:1 /var/lib/kubelet/pods/7a/volumes/kubernetes.io~empty-dir/zync-database-data /var/lib/pgsql/data rw - xfs /dev/sda1 rw
3 1 8:16 / /var/lib/pgsql/data/kept rw - ext4 /dev/sdb rw
4 1 8:1 /var/lib/kubelet/pods/7a/volumes/kubernetes.io~csi/pvc-1/mount /var/lib/mysql rw - xfs /dev/sda1 rw
";

    #[test]
    fn the_mount_that_is_nearest_counts() {
        for (folder, expected) in [
            ("/var/lib/pgsql/data/userdata", true),
            ("/var/lib/pgsql/data", true),
            ("/var/lib/pgsql/data/kept/userdata", false),
            ("/var/lib/pgsql/database", false),
            ("/var/lib/mysql/data", false),
            ("/srv", false),
        ] {
            assert_eq!(lies_in_an_empty_dir(MOUNTS, folder), expected, "{folder}");
        }
        assert!(!lies_in_an_empty_dir("nonsense", "/x"));
    }
}
