//! The true story, and how it is written to files.

use crate::Folder;
use crate::crowd::{Random, START, experiment};

pub(super) const EXPERIMENT: &str = r#"{"experiments": [{"name": "shop", "salt": "shop-1",
    "unit": [{"header": "x-user-id"}], "baseline": "plain",
    "variants": [{"name": "plain"}, {"name": "fancy", "weight": 50}]}],
    "settings": {"exposure_unit": "plain"}}"#;

const DAY: u64 = 86_400_000;
pub(super) const DAYS: u64 = 5;

/// A request.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) user: u64,
    pub(super) unit: String,
    pub(super) id: String,
    pub(super) time: u64,
    pub(super) fancy: bool,
    pub(super) bucket: u32,
    pub(super) status: u32,
    pub(super) flags: &'static str,
    pub(super) duration: u64,
    pub(super) correct: bool,
}

/// A purchase, with the values as the file writes them.
#[derive(Clone)]
pub(super) struct Purchase {
    pub(super) user: u64,
    pub(super) unit: String,
    pub(super) time: u64,
    pub(super) revenue: String,
    pub(super) fancy: bool,
}

/// How a file is written from its lines.
pub(super) type Writer = fn(&[String]) -> Vec<u8>;

#[derive(Clone)]
pub(super) struct Story {
    pub(super) requests: Vec<Request>,
    pub(super) purchases: Vec<Purchase>,
    /// Of a request and its line.
    pub(super) line: fn(&Request, usize) -> String,
    /// Around the lines of a log.
    pub(super) log: Writer,
    /// The log once more, as another file.
    pub(super) twice: bool,
    pub(super) time: fn(u64) -> String,
    /// `unit,time,revenue`, as lines.
    pub(super) by_unit: fn(&Self) -> Vec<String>,
    /// `request_id,correct`, as lines.
    pub(super) by_request: fn(&Self) -> Vec<String>,
    pub(super) table: Writer,
}

impl Story {
    pub(super) fn new() -> Self {
        let experiment = experiment(EXPERIMENT);
        let mut random = Random(11);
        let (mut requests, mut purchases) = (Vec::new(), Vec::new());
        for user in 0..3000 {
            let unit = format!("user-{user}");
            let bucket = experiment.arm.bucket(unit.as_bytes()).get();
            let fancy = bucket < 500_000;
            let joined = user * DAYS * DAY / 3000;
            let count = 1 + random.below(6);
            let mut first = u64::MAX;
            for number in 0..count {
                let time = START + joined + random.below(DAYS * DAY - joined);
                first = first.min(time);
                let broken = random.chance(0.02);
                let left = random.chance(0.01);
                requests.push(Request {
                    user,
                    unit: unit.clone(),
                    id: format!("{:08x}-0000-4000-8000-{number:012x}", user * 7919 + 17),
                    time,
                    fancy,
                    bucket,
                    status: if left {
                        0
                    } else if broken {
                        503
                    } else {
                        200
                    },
                    flags: if left { "DC" } else { "-" },
                    duration: 20 + random.below(80),
                    correct: random.chance(if fancy { 0.9 } else { 0.8 }),
                });
            }
            if random.chance(0.5) {
                let revenue = (8.0 + 8.0 * random.fraction()) * if fancy { 1.5 } else { 1.0 };
                let time = first + random.below(3_600_000);
                let revenue = format!("{revenue:.2}");
                purchases.push(Purchase { user, unit, time, revenue, fancy });
            }
        }
        requests.sort_by_key(|request| request.time);
        Self {
            requests,
            purchases,
            line: |request, _| line(request, &rfc3339(request.time), "shop"),
            log: plain,
            twice: false,
            time: rfc3339,
            by_unit: |story| story.rows("unit,time,revenue", |row| row.revenue.clone()),
            by_request: |story| {
                let rows = story.requests.iter().filter(|request| request.status == 200);
                let rows = rows.map(|row| format!("{},{}", row.id, u8::from(row.correct)));
                std::iter::once("request_id,correct".to_owned()).chain(rows).collect()
            },
            table: plain,
        }
    }

    /// The purchases under this header, with these values at the end.
    pub(super) fn rows(&self, header: &str, value: impl Fn(&Purchase) -> String) -> Vec<String> {
        let row = |row: &Purchase| format!("{},{},{}", row.unit, (self.time)(row.time), value(row));
        std::iter::once(header.to_owned()).chain(self.purchases.iter().map(row)).collect()
    }

    pub(super) fn write(&self, folder: &Folder) {
        let lines: Vec<String> = self
            .requests
            .iter()
            .enumerate()
            .map(|(at, request)| (self.line)(request, at))
            .collect();
        folder.write("logs/access.log", (self.log)(&lines));
        if self.twice {
            folder.write("logs/access.log.1", (self.log)(&lines[lines.len() / 2..]));
        }
        folder.write("by_unit.csv", (self.table)(&(self.by_unit)(self)));
        folder.write("by_request.csv", (self.table)(&(self.by_request)(self)));
    }
}

/// A line as the proxy writes it.
pub(super) fn line(request: &Request, time: &str, experiment: &str) -> String {
    let variant = if request.fancy { "fancy" } else { "plain" };
    let Request { id, unit, bucket, status, flags, duration, .. } = request;
    format!(
        r#"{{"time":"{time}","request_id":"{id}","exposure":"reason=hash bucket={bucket} unit={unit}","experiment":"{experiment}","assigned":"{variant}","served":"{variant}","phase":null,"status":{status},"flags":"{flags}","duration":{duration}}}"#
    )
}

pub(super) fn rfc3339(time: u64) -> String {
    sidetrack::quantity::Timestamp::new(time).to_string()
}

pub(super) fn plain(lines: &[String]) -> Vec<u8> {
    (lines.join("\n") + "\n").into_bytes()
}
