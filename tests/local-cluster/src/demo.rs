//! The demo application: a small 3scale as ordinary YAML that any cluster takes. Only the image is
//! open, because only the cluster knows where it can get one.

/// The namespace that the application lives in.
pub const NAMESPACE: &str = "3scale";

/// What stands in the files for the image.
const IMAGE: &str = "${COFFERDAM_TEST_IMAGE}";

const NAMESPACE_FILE: &str = include_str!("../demo/00-namespace.yaml");
const SECRETS: &str = include_str!("../demo/10-secrets.yaml");
const CONFIG_MAPS: &str = include_str!("../demo/20-configmaps.yaml");
const DATABASES: &str = include_str!("../demo/30-databases.yaml");
const APPLICATION: &str = include_str!("../demo/40-application.yaml");
const OTHERS: &str = include_str!("../eras/b/50-others.yaml");

const FILES: [&str; 5] = [NAMESPACE_FILE, SECRETS, CONFIG_MAPS, DATABASES, APPLICATION];

/// An era of 3scale: what its operator makes of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2.14: DeploymentConfigs.
    A,
    /// 2.15: Deployments, databases among them: the demo, and what it leaves out.
    B,
    /// 2.16: Deployments; system database and both Redis are elsewhere.
    C,
}

/// All manifests in the order in which they are applied, with the image filled in. For the local
/// cluster any name will do.
#[must_use]
pub fn manifests(image: &str) -> String {
    FILES.map(|file| file.replace(IMAGE, image)).join("\n---\n")
}

/// A whole 3scale of one era, as [`manifests`].
#[must_use]
pub fn manifests_of(era: Era, image: &str) -> String {
    let files: &[&str] = match era {
        Era::A => &[
            NAMESPACE_FILE,
            SECRETS,
            CONFIG_MAPS,
            include_str!("../eras/a/30-databases.yaml"),
            include_str!("../eras/a/40-application.yaml"),
        ],
        Era::B => &[
            NAMESPACE_FILE,
            SECRETS,
            CONFIG_MAPS,
            DATABASES,
            APPLICATION,
            OTHERS,
        ],
        Era::C => &[
            NAMESPACE_FILE,
            SECRETS,
            include_str!("../eras/c/15-external.yaml"),
            CONFIG_MAPS,
            include_str!("../eras/c/30-zync-database.yaml"),
            APPLICATION,
            OTHERS,
        ],
    };
    let files: Vec<String> = files
        .iter()
        .map(|file| file.replace(IMAGE, image))
        .collect();
    files.join("\n---\n")
}
