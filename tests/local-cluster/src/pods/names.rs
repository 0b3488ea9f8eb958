//! Addresses of pods and the names by which pods find each other.
//!
//! There is no name server: each Kubernetes namespace has one hosts file, which all its pods see.
//! It is replaced as a whole, so that nobody reads half of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The first and the last address given to pods; .0.1 is left to who expects a gateway there.
const FIRST: u32 = u32::from_be_bytes([10, 244, 0, 2]);
const LAST: u32 = u32::from_be_bytes([10, 244, 255, 254]);

/// The addresses in use. One that was given back is used again as late as possible.
#[derive(Debug)]
pub(crate) struct Addresses {
    next: u32,
    used: BTreeSet<u32>,
}

impl Addresses {
    pub(crate) fn new() -> Self {
        Self {
            next: FIRST,
            used: BTreeSet::new(),
        }
    }

    /// Gives out a free address.
    pub(crate) fn take(&mut self) -> anyhow::Result<Ipv4Addr> {
        let candidates = (self.next..=LAST).chain(FIRST..self.next);
        let free = candidates
            .into_iter()
            .find(|address| !self.used.contains(address));
        let address = free.context("all addresses of the pod network are in use")?;
        self.used.insert(address);
        self.next = if address == LAST { FIRST } else { address + 1 };
        Ok(Ipv4Addr::from_bits(address))
    }

    pub(crate) fn give_back(&mut self, address: Ipv4Addr) {
        self.used.remove(&address.to_bits());
    }
}

/// The hosts files of all namespaces.
#[derive(Debug)]
pub(crate) struct Names {
    folder: PathBuf,
    namespaces: HashMap<String, Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    services: Vec<(String, IpAddr)>,
    pods: BTreeMap<String, Ipv4Addr>,
}

impl Names {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            namespaces: HashMap::new(),
        }
    }

    /// The folder that pods of the namespace see; it holds one file, `hosts`.
    pub(crate) fn folder(&self, namespace: &str) -> PathBuf {
        self.folder.join(namespace)
    }

    pub(crate) fn set_services(
        &mut self,
        namespace: &str,
        services: Vec<(String, IpAddr)>,
    ) -> anyhow::Result<()> {
        self.change(namespace, |entries| entries.services = services)
    }

    pub(crate) fn add_pod(
        &mut self,
        namespace: &str,
        pod: &str,
        address: Ipv4Addr,
    ) -> anyhow::Result<()> {
        self.change(namespace, |entries| {
            entries.pods.insert(pod.to_owned(), address);
        })
    }

    /// Forgets a pod, unless its name has been given to another one since.
    pub(crate) fn remove_pod(
        &mut self,
        namespace: &str,
        pod: &str,
        address: Ipv4Addr,
    ) -> anyhow::Result<()> {
        self.change(namespace, |entries| {
            if entries.pods.get(pod) == Some(&address) {
                entries.pods.remove(pod);
            }
        })
    }

    fn change(&mut self, namespace: &str, edit: impl FnOnce(&mut Entries)) -> anyhow::Result<()> {
        let entries = self.namespaces.entry(namespace.to_owned()).or_default();
        edit(entries);
        write_whole(&self.folder.join(namespace), &entries.text())
    }
}

impl Entries {
    fn text(&self) -> String {
        let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_owned();
        let pods = self
            .pods
            .iter()
            .map(|(name, address)| (name, IpAddr::V4(*address)));
        for (name, address) in self
            .services
            .iter()
            .map(|(name, address)| (name, *address))
            .chain(pods)
        {
            // Writing to a string cannot fail.
            let _never_fails = writeln!(text, "{address}\t{name}");
        }
        text
    }
}

fn write_whole(folder: &Path, text: &str) -> anyhow::Result<()> {
    fs_err::create_dir_all(folder)?;
    let unfinished = folder.join("hosts.new");
    fs_err::write(&unfinished, text)?;
    fs_err::rename(unfinished, folder.join("hosts"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_given_back_is_not_the_next_one_given() {
        let mut addresses = Addresses::new();
        let first = addresses.take().unwrap();
        assert_eq!(first, Ipv4Addr::new(10, 244, 0, 2));
        addresses.give_back(first);
        assert_eq!(addresses.take().unwrap(), Ipv4Addr::new(10, 244, 0, 3));
    }

    #[test]
    fn addresses_run_out_with_an_error_and_come_back() {
        let mut addresses = Addresses::new();
        let mut last = addresses.take().unwrap();
        while let Ok(address) = addresses.take() {
            last = address;
        }
        assert_eq!(last, Ipv4Addr::new(10, 244, 255, 254));
        addresses.give_back(Ipv4Addr::new(10, 244, 0, 9));
        assert_eq!(addresses.take().unwrap(), Ipv4Addr::new(10, 244, 0, 9));
    }

    #[test]
    fn a_namespace_knows_its_own_services_and_pods_only() {
        let folder = tempfile::tempdir().unwrap();
        let mut names = Names::new(folder.path().to_owned());
        let address = Ipv4Addr::new(10, 244, 0, 2);
        names.add_pod("shop", "till-0", address).unwrap();
        names
            .set_services("shop", vec![("till".to_owned(), address.into())])
            .unwrap();
        names.set_services("depot", vec![]).unwrap();
        let hosts = |namespace: &str| {
            fs_err::read_to_string(names.folder(namespace).join("hosts")).unwrap()
        };
        assert!(hosts("shop").contains("10.244.0.2\ttill\n"));
        assert!(hosts("shop").contains("10.244.0.2\ttill-0\n"));
        assert!(!hosts("depot").contains("till"));
        names
            .remove_pod("shop", "till-0", Ipv4Addr::new(10, 244, 0, 3))
            .unwrap();
        assert!(names.namespaces["shop"].pods.contains_key("till-0"));
        names.remove_pod("shop", "till-0", address).unwrap();
        assert!(names.namespaces["shop"].pods.is_empty());
    }
}
