//! Asks for what its manifest does not declare, and returns the answer, or goes on without.

use cofferdam_guest_sdk::{DataSet, Error, Evidence, Host, Result, WhenPresent};

struct Module;

impl DataSet for Module {
    fn backup(host: &dyn Host) -> Result<()> {
        let server = host.target("server")?;
        let pod = server.pod()?;
        match host.parameter("ask-for").unwrap_or_default().as_str() {
            "command" => pod.run("remove-everything", &[]).map(drop),
            "path" => pod.read("secrets").map(drop),
            "write" => pod.remove("readable"),
            "object" => host.object("configuration", "somebody-elses").map(drop),
            "group" => host.object("secrets", "passwords").map(drop),
            "verb" => host.apply_object("configuration", "{}"),
            "target" => host.target("neighbour").map(drop),
            "rollout" => server.restart(),
            "replicas" => server.set_replicas(0),
            "guard" => server.guard("nobody else is to roll it"),
            "template" => host
                .process_template("application", "template.json", WhenPresent::Replace)
                .map(drop),
            "dash" => pod.run("say", &[("word", "--version")]).map(drop),
            "type" => pod
                .run("say", &[("word", "hello"), ("count", "10")])
                .map(drop),
            "hole" => pod
                .run("say", &[("word", "hello"), ("shell", "sh")])
                .map(drop),
            "elsewhere" => host
                .target("other")?
                .pod()?
                .run("say", &[("word", "hello")])
                .map(drop),
            "target-and-goes-on" => {
                let _refused = host.target("neighbour");
                let mut artifact = host.create_artifact("part", "text/plain")?;
                artifact.write(b"what could be had")?;
                artifact.commit(&Evidence::default())
            }
            other => Err(Error::invalid(format!(
                "there is nothing called `{other}` to ask for"
            ))),
        }
    }

    fn restore(_host: &dyn Host) -> Result<()> {
        Ok(())
    }

    fn verify(_host: &dyn Host) -> Result<()> {
        Ok(())
    }
}

cofferdam_guest_sdk::export!(Module);
