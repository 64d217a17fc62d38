//! Lines that cannot be read.

use super::*;

pub(super) const CASES: &[Case] = &[
    case("lines that are cut off", UNITS, "invalid", |story| {
        story.line = |request, at| {
            let mut line = line(request, &rfc3339(request.time), "shop");
            if at % 40 == 0 {
                line.truncate(line.len() - 9);
            }
            line
        };
    }),
    case("lines that are cut before the experiment's name", UNITS, "invalid", |story| {
        story.line = |request, at| {
            let mut line = line(request, &rfc3339(request.time), "shop");
            line.truncate(if at % 40 == 0 { 2 + at % 150 } else { line.len() });
            line
        };
    }),
    case("lines of Docker that are cut within", UNITS, "invalid", |story| {
        story.line = |request, at| {
            let time = rfc3339(request.time);
            let mut line = line(request, &time, "shop");
            line.truncate(if at % 40 == 0 { 60 } else { line.len() });
            format!(r#"{{"log":{},"stream":"stdout","time":"{time}"}}"#, quoted(&line))
        };
    }),
    case("zeros of a full disk", UNITS, "invalid", |story| {
        story.line = |request, at| match at % 40 {
            0 => "\0".repeat(200),
            _ => line(request, &rfc3339(request.time), "shop"),
        };
    }),
    case("no line of the experiment can be read", UNITS, "invalid", |story| {
        story.line = |request, _| {
            let line = line(request, &rfc3339(request.time), "shop");
            format!("{{\"level\":\"info\"}}\n{}", line.replace("\"status\":", "\"status\":-"))
        };
    }),
    case("the answer of a log store", UNITS, "invalid", |story| {
        story.log = |lines| {
            let values: Vec<String> =
                lines.iter().map(|line| format!("[\"1\",{}]", quoted(line))).collect();
            format!("{{\"data\":{{\"result\":[{{\"values\":[{}]}}]}}}}", values.join(","))
                .into_bytes()
        };
    }),
    case("an empty log", UNITS, "invalid", |story| story.log = |_| Vec::new()),
    case("the log of another experiment", UNITS, "invalid", |story| {
        story.line = |request, _| line(request, &rfc3339(request.time), "shop-2");
    }),
    case("Istio's default text", UNITS, "invalid", |story| {
        story.line = |request, _| {
            let time = rfc3339(request.time);
            format!(
                "[{time}] \"POST /predict HTTP/1.1\" 200 - via_upstream - \"-\" 5 7 {} 3",
                request.duration
            )
        };
    }),
    case("Istio's default JSON", UNITS, "invalid", |story| {
        story.line = |request, _| {
            let time = rfc3339(request.time);
            format!(
                r#"{{"start_time":"{time}","method":"POST","response_code":200,"duration":{}}}"#,
                request.duration
            )
        };
    }),
    case("lines that the runtime has split", UNITS, "invalid", |story| {
        story.line = |request, _| {
            let time = rfc3339(request.time);
            let line = line(request, &time, "shop");
            let (head, tail) = line.split_at(100);
            format!("{time} stdout P {head}\n{time} stdout F {tail}")
        };
    }),
    case("a gzip file that breaks off", UNITS, "invalid", |story| {
        story.log = |lines| {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut out, &plain(lines)).unwrap();
            let whole = out.finish().unwrap();
            whole[..whole.len() * 9 / 10].to_vec()
        };
    }),
];
