//! The hand-off to a warehouse: SQL for the first exposure of each unit, as another platform's engine reads it.
//!
//! The query keeps the lines that `analyze run` keeps, and counts a unit once: for the variant that it was assigned to in
//! its first exposure. It checks no buckets, and it reads the weights of a phase without judging by them.

use std::fmt::{self, Write as _};

use sidetrack::exposure;
use sidetrack::names::log;
use sidetrack::plan::{Assignment, Experiment, ExposureUnit};

use crate::dialect::{Dialect, quoted};
use crate::window::Window;

/// Who reads the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// GrowthBook: an experiment assignment query.
    GrowthBook,
    /// Eppo: an assignment SQL definition.
    Eppo,
    /// Statsig Warehouse Native: an assignment source.
    Statsig,
}

impl Platform {
    /// Its columns: the unit, the time, the trial, the variant, and, where it shows names, that of the experiment and of
    /// the variant.
    const fn columns(self) -> ([&'static str; 4], Option<[&'static str; 2]>) {
        match self {
            Self::GrowthBook => (
                ["user_id", "timestamp", "experiment_id", "variation_id"],
                Some(["experiment_name", "variation_name"]),
            ),
            Self::Eppo => (["subject", "timestamp", "experiment", "variation"], None),
            Self::Statsig => (["user_id", "timestamp", "experiment_id", "group_id"], None),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GrowthBook => "GrowthBook",
            Self::Eppo => "Eppo",
            Self::Statsig => "Statsig",
        })
    }
}

/// Which columns the table of exposures has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Those of the access log: the trial, the weights, the reason and the unit are in the text `exposure`.
    Log,
    /// Each of them is a column, as in the files of the store.
    Fields,
}

/// The tables that the query reads, and the platform that it is for.
#[derive(Clone, Copy, Debug)]
pub struct Assignments<'a> {
    /// Who reads it.
    pub platform: Platform,
    /// The SQL of this engine.
    pub dialect: Dialect,
    /// The table of exposures, as the query names it.
    pub table: &'a str,
    /// Its columns.
    pub layout: Layout,
    /// A table of plain ids and its column: pseudonyms in the log become the ids.
    pub users: Option<(&'a str, &'a str)>,
    /// Only exposures of this time.
    pub window: Window,
    /// The name of a view; without one, the query alone.
    pub view: Option<&'a str>,
}

impl Assignments<'_> {
    /// The query for the trial of this experiment.
    ///
    /// # Errors
    /// The log has no units, or no pseudonyms to join.
    pub fn sql(&self, experiment: &Experiment, units: ExposureUnit) -> Result<String, String> {
        match (units, self.users) {
            (ExposureUnit::None, _) => {
                return Err(
                    "settings.exposure_unit is none, so the log names no units; set it to digest \
                     or plain"
                        .to_owned(),
                );
            }
            (ExposureUnit::Plain, Some(_)) => {
                return Err(
                    "settings.exposure_unit is plain: the log has the plain ids, so there is \
                            nothing to join"
                        .to_owned(),
                );
            }
            _ => {}
        }
        let mut sql = self.header(experiment, units);
        if let Some(view) = self.view {
            writeln!(sql, "CREATE OR REPLACE VIEW {view} AS").ok();
        }
        sql += "WITH exposures AS (\n";
        sql += &self.exposures(experiment);
        sql += "),\nranked AS (\n  SELECT\n    unit_id, exposed_at, assigned, weights_in_force,\n    \
                ROW_NUMBER() OVER (PARTITION BY unit_id ORDER BY exposed_at, request_id) AS place,\n    \
                MIN(assigned) OVER (PARTITION BY unit_id) AS lowest,\n    \
                MAX(assigned) OVER (PARTITION BY unit_id) AS highest\n  FROM exposures\n)";
        if let Some((table, column)) = self.users {
            let digest = self.digest(experiment, "plain_id");
            write!(
                sql,
                ",\nusers AS (\n  SELECT plain_id, {digest} AS digest\n  FROM (SELECT DISTINCT {} AS \
                 plain_id FROM {table}) AS ids\n)",
                self.dialect.text(column)
            )
            .ok();
        }
        sql += &self.selection(experiment);
        sql += if self.view.is_some() { ";\n" } else { "\n" };
        Ok(sql)
    }

    /// The pseudonym of a plain id, as an expression: the recipe of the log.
    fn digest(&self, experiment: &Experiment, id: &str) -> String {
        let prefix = format!("exposure1\0{}\0", experiment.salt);
        self.dialect.digest(&prefix, id)
    }

    fn header(&self, experiment: &Experiment, units: ExposureUnit) -> String {
        let Self { platform, dialect, .. } = self;
        let trial = exposure::trial(experiment);
        let mut text = format!(
            "-- The first exposure of each unit of {}, trial {trial}, for {platform} in {dialect}.\n\
             -- The variant is the assigned one, whichever served the request.\n",
            experiment.name
        );
        if units == ExposureUnit::Digest {
            let digest = self.digest(experiment, "user_id");
            writeln!(text, "-- The pseudonym of a plain user_id in this trial:\n--   {digest}")
                .ok();
        }
        text
    }

    /// The lines that count.
    fn exposures(&self, experiment: &Experiment) -> String {
        let trial = exposure::trial(experiment);
        let field = |name: &str| match self.layout {
            Layout::Log => self.dialect.exposure_field(name),
            Layout::Fields => format!("NULLIF(NULLIF({name}, '-'), '')"),
        };
        let mut reasons = vec!["hash", "breaker_open", "probe"];
        if experiment.assignment == Assignment::RequestRandom {
            reasons.push("random");
        }
        let list = |values: &[&str]| {
            values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ")
        };
        let variants: Vec<&str> =
            experiment.variants.iter().map(|variant| variant.name.as_str()).collect();
        let name = quoted(&experiment.name);
        let time = self.dialect.time(log::TIME);
        let mut sql = format!(
            "  SELECT\n    {unit} AS unit_id,\n    {time} AS exposed_at,\n    {assigned},\n    {weights} AS \
             weights_in_force,\n    {request_id}\n  FROM {table}\n  WHERE {experiment} = {name}\n    AND \
             COALESCE({trial_of}, '{trial}') = '{trial}'\n    AND COALESCE({reason}, 'hash') IN \
             ({reasons})\n    AND {unit} IS NOT NULL\n    AND {assigned} IN ({variants})\n",
            unit = field(log::UNIT),
            weights = field(log::WEIGHTS),
            trial_of = field(log::TRIAL),
            reason = field(log::REASON),
            assigned = log::ASSIGNED,
            request_id = log::REQUEST_ID,
            experiment = log::EXPERIMENT,
            table = self.table,
            reasons = list(&reasons),
            variants = list(&variants),
        );
        for (limit, compare) in [(self.window.since, ">="), (self.window.until, "<")] {
            if let Some(limit) = limit {
                let limit = self.dialect.time(&quoted(&limit.to_string()));
                writeln!(sql, "    AND {time} {compare} {limit}").ok();
            }
        }
        sql
    }

    fn selection(&self, experiment: &Experiment) -> String {
        let ([unit, time, trial, variant], names) = self.platform.columns();
        let id = if self.users.is_some() {
            "COALESCE(NULLIF(plain_id, ''), unit_id)".to_owned()
        } else {
            "unit_id".to_owned()
        };
        let mut columns = vec![
            format!("{id} AS {unit}"),
            format!("exposed_at AS {time}"),
            format!("'{}' AS {trial}", exposure::trial(experiment)),
            format!("assigned AS {variant}"),
        ];
        if let Some([experiment_name, variation_name]) = names {
            let name = quoted(&experiment.name);
            columns.push(format!("{name} AS {experiment_name}"));
            columns.push(format!("assigned AS {variation_name}"));
        }
        columns.push("weights_in_force AS weights".to_owned());
        let several = "CASE WHEN lowest = highest THEN 'one' ELSE 'several' END AS variants_seen";
        columns.push(several.to_owned());
        let from = if self.users.is_some() {
            "ranked\nLEFT JOIN users ON users.digest = ranked.unit_id"
        } else {
            "ranked"
        };
        format!("\nSELECT\n  {}\nFROM {from}\nWHERE place = 1", columns.join(",\n  "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"experiments": [{"name": "e", "salt": "s1", "unit": [{"header": "u"}],
        "baseline": "b", "variants": [{"name": "b"}, {"name": "c", "weight": 50}]}]}"#;

    fn sql(change: impl FnOnce(&mut Assignments<'static>)) -> Result<String, String> {
        let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
        let mut wanted = Assignments {
            platform: Platform::GrowthBook,
            dialect: Dialect::DuckDb,
            table: "exposures_log",
            layout: Layout::Fields,
            users: None,
            window: Window::default(),
            view: None,
        };
        change(&mut wanted);
        wanted.sql(plan.experiments.iter().next().unwrap(), plan.settings.exposure_unit)
    }

    #[test]
    fn platforms_have_their_own_columns() {
        for (platform, columns) in [
            (Platform::GrowthBook, "user_id timestamp experiment_id variation_id"),
            (Platform::Eppo, "subject timestamp experiment variation"),
            (Platform::Statsig, "user_id timestamp experiment_id group_id"),
        ] {
            let sql = sql(|wanted| wanted.platform = platform).unwrap();
            for column in columns.split(' ') {
                assert!(sql.contains(&format!(" AS {column}")), "{platform}: {column}: {sql}");
            }
        }
    }

    #[test]
    fn a_view_ends_and_a_query_can_be_embedded() {
        let query = sql(|_| {}).unwrap();
        assert!(!query.contains(';') && query.ends_with("WHERE place = 1\n"), "{query}");
        let view = sql(|wanted| wanted.view = Some("first_exposures")).unwrap();
        assert!(view.contains("CREATE OR REPLACE VIEW first_exposures AS\n"), "{view}");
        assert!(view.ends_with("WHERE place = 1;\n"), "{view}");
    }

    #[test]
    fn the_time_is_limited() {
        let window = |text: &str| Some(text.parse().unwrap());
        let limited = sql(|wanted| {
            wanted.window = Window { since: window("2026-11-23"), until: window("2026-11-24") };
        });
        let limited = limited.unwrap();
        let since = "AND CAST(time AS TIMESTAMPTZ) >= CAST('2026-11-23T00:00:00Z' AS TIMESTAMPTZ)";
        assert!(limited.contains(since), "{limited}");
        assert!(limited.contains(" < CAST('2026-11-24T00:00:00Z'"), "{limited}");
    }

    #[test]
    fn units_must_be_in_the_log() {
        let plan = sidetrack::config::parse_json(FILE.as_bytes()).unwrap();
        let wanted = Assignments {
            platform: Platform::Eppo,
            dialect: Dialect::Postgres,
            table: "t",
            layout: Layout::Log,
            users: Some(("users", "id")),
            window: Window::default(),
            view: None,
        };
        let experiment = plan.experiments.iter().next().unwrap();
        let none = wanted.sql(experiment, ExposureUnit::None).unwrap_err();
        assert!(none.contains("names no units"), "{none}");
        let plain = wanted.sql(experiment, ExposureUnit::Plain).unwrap_err();
        assert!(plain.contains("nothing to join"), "{plain}");
        assert!(wanted.sql(experiment, ExposureUnit::Digest).unwrap().contains("LEFT JOIN users"));
    }
}
