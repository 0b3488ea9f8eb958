//! The demo application: a small 3scale as ordinary YAML that any cluster takes. Only the image is
//! open, because only the cluster knows where it can get one.

/// The namespace that the application lives in.
pub const NAMESPACE: &str = "3scale";

/// What stands in the files for the image.
const IMAGE: &str = "${COFFERDAM_TEST_IMAGE}";

const FILES: [&str; 5] = [
    include_str!("../demo/00-namespace.yaml"),
    include_str!("../demo/10-secrets.yaml"),
    include_str!("../demo/20-configmaps.yaml"),
    include_str!("../demo/30-databases.yaml"),
    include_str!("../demo/40-application.yaml"),
];

/// All manifests in the order in which they are applied, with the image filled in. For the local
/// cluster any name will do.
#[must_use]
pub fn manifests(image: &str) -> String {
    FILES.map(|file| file.replace(IMAGE, image)).join("\n---\n")
}
