//! A headless browser that opens files: asked over a pipe with the `DevTools` protocol, one question
//! at a time. It is given no network, and says so when a page asks for it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::site::needed;

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// The width of the window in pixels.
    pub width: u32,
    /// The colours.
    pub theme: Theme,
}

/// The colours that the reader prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Dark letters on light ground.
    Light,
    /// Light letters on dark ground.
    Dark,
}

/// A browser with one open page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    session: String,
    asked: u64,
    events: VecDeque<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Starts the browser that `COFFERDAM_TEST_CHROMIUM` names and opens a file in it.
    #[track_caller]
    pub fn open(file: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        // The protocol's pipe is descriptors 3 and 4; a shell puts our two ends there.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null", "sh"])
            .arg(needed("COFFERDAM_TEST_CHROMIUM"))
            // Tests run as root in containers, where the browser's own sandbox cannot be made.
            .args(["--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"])
            .args([
                "--no-first-run",
                "--disable-dev-shm-usage",
                "--force-color-profile=srgb",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        let asks = child.stdin.take().expect("stdin");
        let answers = BufReader::new(child.stdout.take().expect("stdout"));
        let mut browser = Self {
            child,
            asks,
            answers,
            session: String::new(),
            asked: 0,
            events: VecDeque::new(),
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        browser.session = browser.ask("Target.attachToTarget", &attach)["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        for domain in [
            "Page.enable",
            "Log.enable",
            "Network.enable",
            "Runtime.enable",
        ] {
            browser.ask(domain, &json!({}));
        }
        let file = file.canonicalize().expect("the page is there");
        let address = format!("file://{}", file.display());
        let opened = browser.ask("Page.navigate", &json!({ "url": address }));
        assert!(opened["errorText"].is_null(), "{opened}");
        browser.wait_for("Page.loadEventFired");
        browser
    }

    /// Sets window and colours.
    pub fn look(&mut self, look: Look) {
        let metrics = json!({
            "width": look.width, "height": 900, "deviceScaleFactor": 1, "mobile": false,
        });
        self.ask("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = match look.theme {
            Theme::Light => "light",
            Theme::Dark => "dark",
        };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.ask(
            "Emulation.setEmulatedMedia",
            &json!({ "features": features }),
        );
    }

    /// What an expression comes to in the page. The page's own policy does not bind the debugger.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let question = json!({ "expression": expression, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", &question);
        assert!(answer["exceptionDetails"].is_null(), "{answer}");
        answer["result"]["value"].clone()
    }

    /// Everything the page asked the network or the disk for, by address.
    pub fn requests(&mut self) -> Vec<String> {
        // A question that comes back has every event before it in front of it.
        self.evaluate("1");
        self.of("Network.requestWillBeSent")
            .filter_map(|event| Some(event["request"]["url"].as_str()?.to_owned()))
            .collect()
    }

    /// What the browser complained about, such as a policy that something broke.
    pub fn complaints(&mut self) -> Vec<String> {
        self.evaluate("1");
        self.of("Log.entryAdded")
            .filter_map(|event| Some(event["entry"]["text"].as_str()?.to_owned()))
            .collect()
    }

    fn of<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a Value> {
        self.events
            .iter()
            .filter(move |event| event["method"] == method)
            .map(|event| &event["params"])
    }

    /// A picture of the whole page as PNG, in base64.
    pub fn picture(&mut self) -> String {
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.ask("Page.captureScreenshot", &whole);
        picture["data"].as_str().expect("a picture").to_owned()
    }

    /// The page printed as PDF, in base64.
    pub fn print(&mut self) -> String {
        let paper = json!({ "preferCSSPageSize": true, "paperWidth": 8.27, "paperHeight": 11.69 });
        let printed = self.ask("Page.printToPDF", &paper);
        printed["data"].as_str().expect("a document").to_owned()
    }

    #[track_caller]
    fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.asked += 1;
        let mut question = json!({ "id": self.asked, "method": method, "params": parameters });
        if !self.session.is_empty() {
            question["sessionId"] = self.session.as_str().into();
        }
        let mut bytes = question.to_string().into_bytes();
        bytes.push(0);
        self.asks.write_all(&bytes).expect("the browser listens");
        loop {
            let message = self.next(method);
            if message["id"] == self.asked {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }

    #[track_caller]
    fn wait_for(&mut self, event: &str) {
        while self.of(event).next().is_none() {
            let message = self.next(event);
            self.events.push_back(message);
        }
    }

    #[track_caller]
    fn next(&mut self, wanted: &str) -> Value {
        let mut bytes = Vec::new();
        self.answers
            .read_until(0, &mut bytes)
            .expect("the browser answers");
        assert!(
            bytes.pop() == Some(0),
            "the browser ended before it answered to `{wanted}`"
        );
        serde_json::from_slice(&bytes).expect("JSON")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The shell has become the browser, so this is the browser itself; its helpers end with it.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
