//! What the desk needs of the cluster, so that its tests can do without one.
//!
//! Must never do more than hand on.

use async_trait::async_trait;
use cofferdam_cluster::{Cluster, Original, PutBackOutcome};
use cofferdam_policy::Permit;
use cofferdam_policy::request::{PutBack, TakeLease};

/// The cluster, as far as the desk needs it.
#[async_trait]
pub(crate) trait Changeable: Send + Sync + std::fmt::Debug {
    /// As [`Cluster::read_original`].
    async fn read_original(
        &self,
        permit: &Permit<TakeLease>,
    ) -> Result<Original, cofferdam_cluster::Error>;
    /// As [`Cluster::make_change`].
    async fn make_change(
        &self,
        permit: &Permit<TakeLease>,
        original: &Original,
    ) -> Result<(), cofferdam_cluster::Error>;
    /// As [`Cluster::put_back`].
    async fn put_back(
        &self,
        permit: &Permit<PutBack>,
        original: &Original,
    ) -> Result<PutBackOutcome, cofferdam_cluster::Error>;
}

#[async_trait]
impl Changeable for Cluster {
    async fn read_original(
        &self,
        permit: &Permit<TakeLease>,
    ) -> Result<Original, cofferdam_cluster::Error> {
        self.read_original(permit).await
    }

    async fn make_change(
        &self,
        permit: &Permit<TakeLease>,
        original: &Original,
    ) -> Result<(), cofferdam_cluster::Error> {
        self.make_change(permit, original).await
    }

    async fn put_back(
        &self,
        permit: &Permit<PutBack>,
        original: &Original,
    ) -> Result<PutBackOutcome, cofferdam_cluster::Error> {
        self.put_back(permit, original).await
    }
}
