//! The first test of the README, command by command, as a reader runs it: two servers in Python, `init`, `run`, requests,
//! outcomes, `advance`, `promote`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};
use sidetrack_lab::{Client, Request, first_free_port};

use super::*;

pub(super) const HEADING: &str = "## Your first test";

/// The ports that the page names.
const PORTS: [&str; 4] = ["9001", "9002", "10000", "8088"];

/// A folder with what a reader has, and the processes of the page.
struct Reader {
    folder: tempfile::TempDir,
    /// In place of [`PORTS`].
    ports: [String; 4],
    processes: Vec<Child>,
    /// What `sidetrack run` prints.
    printed: Option<std::sync::mpsc::Receiver<String>>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.processes {
            // Its whole group: a shell, and what it started.
            if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                kill_process_group(group, Signal::KILL).ok();
            }
            child.wait().ok();
        }
    }
}

impl Reader {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["bin", "dist", "work"] {
            fs::create_dir(at(name)).unwrap();
        }
        std::os::unix::fs::symlink(artifact::cli(), at("bin/sidetrack")).unwrap();
        // `make cli` puts the module into the command; without it, it is found in a folder above.
        std::os::unix::fs::symlink(artifact::wasm(), at("dist/sidetrack.wasm")).unwrap();
        for name in ["server.py", "load.py"] {
            fs::copy(root().join("examples/first-test").join(name), at("work").join(name)).unwrap();
        }
        // Other ports than those of tests that run beside this one.
        let first = 30_000 + u16::try_from(std::process::id() % 10_000).unwrap();
        let free = |from| first_free_port([127, 0, 0, 1].into(), first + from).unwrap().to_string();
        let ports = [free(0), free(100), free(200), free(300)];
        Self { folder, ports, processes: Vec::new(), printed: None }
    }

    /// The commands with the ports that are free. The page leaves those of `run` to their defaults.
    fn on_free_ports(&self, commands: &str) -> String {
        let mut text = commands.to_owned();
        for (named, free) in PORTS.iter().zip(&self.ports) {
            for before in ["server.py ", "127.0.0.1:"] {
                text = text.replace(&format!("{before}{named}"), &format!("{before}{free}"));
            }
        }
        let [_, _, listen, store] = &self.ports;
        text.replace(
            "sidetrack run ",
            &format!("sidetrack run --port {listen} --store-listen 127.0.0.1:{store} "),
        )
    }

    fn shell(&self, commands: &str) -> Command {
        let mut shell = Command::new("bash");
        let path = std::env::var("PATH").unwrap();
        let bin = self.folder.path().join("bin");
        shell.env("PATH", format!("{}:{path}", bin.display())).env("NO_COLOR", "1");
        shell.env("ENVOY_PATH", EnvoyBinary::find().unwrap()).stdin(Stdio::null());
        shell.current_dir(self.folder.path().join("work"));
        let commands = self.on_free_ports(commands);
        shell.args(["-c", &format!("exec 2>&1\nset -euo pipefail\n{commands}")]);
        shell
    }

    /// Commands that end, and what they print. `advance` and `promote` say by their exit code what they did.
    fn run(&self, commands: &str) -> String {
        let output = self.shell(commands).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let code = output.status.code();
        let is_advance = commands.starts_with("sidetrack advance");
        assert!(code == Some(0) || (is_advance && code == Some(4)), "{commands}{code:?}\n{text}");
        text
    }

    /// Commands that go on, as in a terminal of their own.
    fn start(&mut self, commands: &str) {
        use std::os::unix::process::CommandExt as _;
        let commands = format!("{}\nwait", commands.trim_end());
        let mut shell = self.shell(&commands);
        let mut child = shell.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, printed) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                sender.send(line).ok();
            }
        });
        self.processes.push(child);
        self.printed = Some(printed);
    }

    /// Waits for a line of the commands that were started last.
    fn until(&self, words: &str) {
        let printed = self.printed.as_ref().unwrap();
        let mut text = String::new();
        while !text.contains(words) {
            let line = printed.recv_timeout(DEADLINE);
            text += &line.unwrap_or_else(|error| panic!("{error}: no {words:?} in\n{text}"));
            text.push('\n');
        }
    }

    /// Waits for the two servers.
    fn until_servers_listen(&self) {
        let end = Instant::now() + DEADLINE;
        let listens =
            |port: &String| std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok();
        while !self.ports[..2].iter().all(listens) {
            assert!(Instant::now() < end, "the servers do not start");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_test_leads_from_two_servers_to_a_promotion() {
    let begun = Instant::now();
    let mut reader = Reader::new();
    let mut outputs = Vec::new();
    check_page(
        async |part| match part {
            Part::Text(_) => {}
            Part::Script(script) if script.trim_end().ends_with('&') => {
                reader.start(script);
                reader.until_servers_listen();
            }
            Part::Script(script) if script.starts_with("sidetrack run ") => {
                reader.start(script);
                reader.until(" is in force");
            }
            Part::Script(script) => outputs.push(reader.run(script)),
            Part::Command { command, output } => {
                let printed = reader.run(command);
                *output = shown(output, &printed);
                if printed.contains("→ 50 %") {
                    // The next requests of the page are sent by a person, who is slower.
                    reader.until(" is in force");
                }
                outputs.push(printed);
            }
        },
        true,
    )
    .await;
    let all = outputs.join("\n");
    for words in
        ["4000 answers", "\"accepted\":4000,\"rejected\":[]", "Raise to 50 %", "Promote  ab-test"]
    {
        assert!(all.contains(words), "no {words:?} in\n{all}");
    }
    // After the promotion, the new model serves everyone.
    reader.until(" is in force");
    let [_, _, port, store] = &reader.ports;
    let client = Client::new(format!("127.0.0.1:{port}").parse().unwrap());
    for user in 0..50 {
        let request =
            Request::post("/invocations", "{}").header("x-user-id", format!("user-{user}"));
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "{\"predictions\": [\"new\"]}"));
    }
    // The page is served, and so is the interface.
    let client = Client::new(format!("127.0.0.1:{store}").parse().unwrap());
    for (path, words) in [("/", "ab-test"), ("/experiments/ab-test", "candidate")] {
        let answer = client.send(Request::get(path)).await.unwrap();
        assert!(answer.status == 200 && answer.text().contains(words), "{path}: {answer:?}");
    }
    println!("from two servers to a promotion in {} s", begun.elapsed().as_secs());
}
