//! Faults of the outcomes of one variant that look like its effect.

use std::collections::BTreeMap;

use sidetrack_analysis::CheckName;

use super::{Plant, REQUESTS, UNITS, plant};
use crate::broken::story::Purchase;

pub(super) const MORE: &[Plant] = &[
    plant(CheckName::RepeatedRows, UNITS, |story| {
        // A pipeline delivers each fifth row of fancy again, two seconds later.
        let fancy = story.purchases.iter().filter(|row| row.fancy && row.user % 5 == 0);
        let again: Vec<Purchase> =
            fancy.map(|row| Purchase { time: row.time + 2000, ..row.clone() }).collect();
        story.purchases.extend(again);
        story.purchases.sort_by_key(|row| row.time);
    }),
    plant(CheckName::RepeatedRows, UNITS, |story| {
        // The same without times, in another order.
        story.by_unit = |story| {
            let row = |row: &Purchase| format!("{},{}", row.unit, row.revenue);
            let rows = story.purchases.iter().map(row);
            let fancy = story.purchases.iter().rev().filter(|row| row.fancy && row.user % 5 == 0);
            let head = std::iter::once("unit,revenue".to_owned());
            head.chain(rows).chain(fancy.map(row)).collect()
        };
    }),
    plant(CheckName::ValueScale, UNITS, |story| {
        // One variant is paid in another currency.
        for row in story.purchases.iter_mut().filter(|row| row.fancy) {
            row.revenue = format!("{:.2}", row.revenue.parse::<f64>().unwrap() * 7.46);
        }
    }),
    plant(CheckName::UnmatchedRows, UNITS, |story| {
        // A part of the export names the kind of an id.
        story.purchases.iter_mut().step_by(9).for_each(|row| row.unit.insert_str(0, "web:"));
    }),
    plant(CheckName::PredictedClasses, REQUESTS, |story| {
        // Of five classes, the baseline swaps two.
        story.by_request = |story| {
            let rows = story.requests.iter().filter(|request| request.status == 200);
            let rows = rows.enumerate().map(|(at, row)| {
                let label = at % 5;
                let class = if row.correct { label } else { (label + 2) % 5 };
                let swapped = match class {
                    0 | 1 if !row.fancy => 1 - class,
                    _ => class,
                };
                format!("{},{swapped},{label}", row.id)
            });
            std::iter::once("request_id,prediction,label".to_owned()).chain(rows).collect()
        };
    }),
    plant(CheckName::ClientErrors, REQUESTS, |story| {
        // The candidate redirects a part of its users, which is quick.
        for request in story.requests.iter_mut().filter(|row| row.fancy && row.user % 10 == 0) {
            (request.status, request.flags, request.duration) = (302, "-", 1);
        }
        story.by_request = |story| {
            let rows = story.requests.iter().filter(|row| [200, 302].contains(&row.status));
            let rows = rows.map(|row| format!("{},{}", row.id, u8::from(row.correct)));
            std::iter::once("request_id,correct".to_owned()).chain(rows).collect()
        };
    }),
    Plant {
        options: &["--covariate", "visits", "--metric", "revenue"],
        ..plant(CheckName::Covariate, UNITS, |story| {
            // The candidate's users come more often, and the visits of the test are among those "before" it.
            story.by_unit = |story| {
                let rows =
                    story.rows("unit,time,revenue,visits", |row| format!("{},", row.revenue));
                let users: BTreeMap<_, _> =
                    story.requests.iter().map(|row| (&row.unit, (row.user, row.fancy))).collect();
                let visits = users.into_iter().map(|(unit, (user, fancy))| {
                    format!("{unit},,,{}", 10 + user * 7919 % 20 + if fancy { 4 } else { 0 })
                });
                rows.into_iter().chain(visits).collect()
            };
        })
    },
];
