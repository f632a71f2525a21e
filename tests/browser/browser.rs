//! A headless Chromium, driven over the W3C's WebDriver protocol by Debian's `chromedriver`.
//!
//! A client of our own because the protocol is a handful of JSON requests, and the crates for it cost the workspace more
//! than they give: `fantoccini` brings 19 crates and other features of `syn`, so that tests would compile wasmtime a
//! second time; `thirtyfour` makes `serde_json` keep the order of keys, so that tests would run other code than users do.
//!
//! Elements are named by CSS selectors. What is awaited is awaited for at most ten seconds.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

/// The member that holds an element's id in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys by the code points that WebDriver gives them.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";

/// A browser with a profile of its own; it ends with the test.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    client: reqwest::Client,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closing the session ends Chromium; a thread of its own, because a test's runtime must not be blocked on.
        let session = self.session.clone();
        let close = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let request = reqwest::Client::new().delete(session).timeout(Duration::from_secs(5));
            runtime.block_on(async { request.send().await.map(drop).map_err(std::io::Error::other) })
        };
        let _ = std::thread::spawn(close).join();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

impl Browser {
    /// Starts one.
    pub(crate) async fn start() -> Self {
        let driver = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = driver.unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| line.ok()?.split_once("successfully on port ").map(|(_, port)| port.replace('.', "")))
            .expect("chromedriver tells its port");
        // Reads on: a full pipe would stop the driver.
        std::thread::spawn(move || lines.for_each(drop));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut browser = Self { driver, session: format!("http://127.0.0.1:{port}/session"), client };
        let chromium = json!({
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server", "--lang=en", "--hide-scrollbars"],
        });
        let capabilities =
            json!({"goog:chromeOptions": chromium, "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}});
        let session = browser.command("", json!({"capabilities": {"alwaysMatch": capabilities}})).await;
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().unwrap());
        browser.size(1280, 900).await;
        browser
    }

    /// Opens a page and waits for it to be loaded.
    pub(crate) async fn open(&self, url: &str) {
        self.command("/url", json!({ "url": url })).await;
    }

    /// Where it is.
    pub(crate) async fn url(&self) -> String {
        self.script("return location.href", json!([])).await.as_str().unwrap().to_owned()
    }

    /// The visible text of an element, once there is one.
    pub(crate) async fn text(&self, css: &str) -> String {
        let element = self.element(css).await;
        let text = self.ask(&format!("/element/{element}/text")).await;
        text.as_str().unwrap().to_owned()
    }

    /// Clicks on an element, once there is one.
    pub(crate) async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.command(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Types into an element, once there is one.
    pub(crate) async fn enter(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.command(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Presses and releases keys one after the other, wherever the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        let actions: Vec<Value> = keys
            .chars()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})])
            .collect();
        let keyboard = json!([{"type": "key", "id": "keyboard", "actions": actions}]);
        self.command("/actions", json!({ "actions": keyboard })).await;
    }

    /// Runs a script in the page; what it returns.
    pub(crate) async fn script(&self, script: &str, arguments: Value) -> Value {
        self.command("/execute/sync", json!({"script": script, "args": arguments})).await
    }

    /// Waits until a script returns true.
    pub(crate) async fn until(&self, what: &str, script: &str) {
        let begun = std::time::Instant::now();
        while self.script(script, json!([])).await != json!(true) {
            if begun.elapsed() > PATIENCE {
                let page = self.script("return document.body.innerText", json!([])).await;
                panic!("not within {} s: {what}; the page says {page}", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the page shows a text.
    pub(crate) async fn until_shown(&self, text: &str) {
        let script = format!("return document.body.innerText.includes({})", json!(text));
        self.until(&format!("the page shows {text:?}"), &script).await;
    }

    /// Gives the page this size, a phone's as well.
    pub(crate) async fn size(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// Prefers dark colours, or light ones.
    pub(crate) async fn dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A picture of what is seen.
    pub(crate) async fn picture(&self, file: &Path) {
        let png = self.ask("/screenshot").await;
        let png = base64::engine::general_purpose::STANDARD.decode(png.as_str().unwrap()).unwrap();
        std::fs::write(file, png).unwrap();
    }

    /// One of the browser's cookies for the page, HttpOnly ones as well.
    pub(crate) async fn cookie(&self, name: &str) -> Option<Value> {
        let cookies = self.ask("/cookie").await;
        cookies.as_array().unwrap().iter().find(|cookie| cookie["name"] == name).cloned()
    }

    /// Sets a cookie, instead of one with the same name.
    pub(crate) async fn set_cookie(&self, cookie: Value) {
        self.command("/cookie", json!({ "cookie": cookie })).await;
    }

    /// The URLs of all requests since this was last asked, also of those that a policy stopped.
    pub(crate) async fn requested(&self) -> Vec<String> {
        let log = self.command("/se/log", json!({"type": "performance"})).await;
        let request = |entry: &Value| {
            let message: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let event = &message["message"];
            let sent = event["method"] == "Network.requestWillBeSent";
            sent.then(|| event["params"]["request"]["url"].as_str().unwrap().to_owned())
        };
        log.as_array().unwrap().iter().filter_map(request).collect()
    }

    /// What the console of the browser says since this was last asked: errors of scripts, breaches of a policy.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.command("/se/log", json!({"type": "browser"})).await;
        log.as_array().unwrap().iter().map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// A command of the DevTools protocol.
    pub(crate) async fn devtools(&self, method: &str, parameters: Value) -> Value {
        self.command("/goog/cdp/execute", json!({"cmd": method, "params": parameters})).await
    }

    async fn element(&self, css: &str) -> String {
        let begun = std::time::Instant::now();
        loop {
            let found = self.send("/element", json!({"using": "css selector", "value": css})).await;
            match found["value"][ELEMENT].as_str() {
                Some(id) => return id.to_owned(),
                None if begun.elapsed() > PATIENCE => panic!("no element {css} on {}", self.url().await),
                None => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn command(&self, path: &str, parameters: Value) -> Value {
        checked(path, self.send(path, parameters).await)
    }

    async fn send(&self, path: &str, parameters: Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.session)).json(&parameters);
        request.timeout(Duration::from_secs(30)).send().await.unwrap().json().await.unwrap()
    }

    async fn ask(&self, path: &str) -> Value {
        let request = self.client.get(format!("{}{path}", self.session)).timeout(Duration::from_secs(30));
        checked(path, request.send().await.unwrap().json().await.unwrap())
    }
}

fn checked(path: &str, answer: Value) -> Value {
    assert!(answer["value"]["error"].is_null(), "{path}: {}: {}", answer["value"]["error"], answer["value"]["message"]);
    answer["value"].clone()
}
