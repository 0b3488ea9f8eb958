//! What a repository promises, tried from outside on real folders, with real restic, and on an S3 that answers.
//!
//! These tests never sleep for a fixed time and never touch anything outside their temporary folders.

#[cfg(test)]
mod damage;
#[cfg(test)]
mod keeping;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod locking;
#[cfg(test)]
mod restic;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod trees;
#[cfg(test)]
mod workbench;
#[cfg(test)]
mod writing;
