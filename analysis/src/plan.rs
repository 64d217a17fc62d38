//! The analysis plan of the experiment file: which metrics decide, and whether what is asked and logged is what was
//! planned.

use std::collections::BTreeMap;
use std::fmt;

use sidetrack::config::{self, Code, Methods, Model, ModelPrice, Node, Problem, Problems, Step};
use sidetrack::plan::Plan;
use sidetrack::quantity::Millis;

use crate::answer::{Srm, SrmVerdict};
use crate::cap::Cap;
use crate::check::{Check, CheckState};
use crate::checks::BY_SRM;
use crate::metric::{BUILT_IN, MetricRequest, MetricRequests};
use crate::model::ModelMetric;
use crate::segments::{Dimension, dimension};
use crate::short::Short;

/// An analysis plan, written before the data exist.
#[derive(Clone, Debug, Default)]
pub struct AnalysisPlan {
    /// Primary metrics.
    pub metrics: Vec<MetricRequest>,
    /// Guardrails.
    pub guardrails: Vec<MetricRequest>,
    /// Units of all variants together.
    pub planned_units: Option<u64>,
    /// How long after a unit's first request in a phase its outcomes count.
    pub attribution: Option<Millis>,
    /// The quantiles at which values of metrics are capped.
    pub caps: Vec<Cap>,
    /// By what results are shown separately.
    pub segments: Vec<String>,
    /// Which columns of the outcomes hold predictions and labels.
    pub model: Option<Model>,
    /// What the tokens of language models cost.
    pub prices: Vec<ModelPrice>,
    /// The weights through which the candidate is raised.
    pub steps: Vec<Step>,
    /// Covariates, planned looks, corrections, and a prior.
    pub methods: Methods,
}

/// Why an analysis is exploratory: something was chosen after the data could be seen, as far as one can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exploratory {
    /// The file has no plan.
    NoPlan,
    /// An option of the command that the plan does not have, as it was given.
    Unplanned(String),
    /// A metric of the plan that the outcomes do not have, while another one is asked for.
    LeftOut(String),
    /// Requests that were made while another plan, or none, was in force.
    OtherPlan {
        /// How many.
        requests: u64,
        /// Of so many.
        all: u64,
    },
    /// A check of the data failed, and an option accepts that.
    Accepted {
        /// The check, or the split.
        failed: String,
        /// The option.
        option: String,
    },
}

impl fmt::Display for Exploratory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPlan => f.write_str("the file has no plan (`analysis`)"),
            Self::Unplanned(option) => write!(f, "{option} is not in the plan"),
            Self::LeftOut(metric) => {
                write!(f, "the plan's metric {metric} is not in these outcomes")
            }
            Self::OtherPlan { requests, all } => write!(
                f,
                "{requests} of {all} requests were made before this plan was in force, under another \
                 plan or none"
            ),
            Self::Accepted { failed, option } => {
                write!(f, "{failed} failed, and {option} decides anyway")
            }
        }
    }
}

impl AnalysisPlan {
    /// The columns of the outcomes that the plan names: they are read even if they look like identifiers or times.
    #[must_use]
    pub fn named(&self) -> Vec<&str> {
        let metrics = self.metrics.iter().chain(&self.guardrails).flat_map(MetricRequest::columns);
        metrics.chain(self.methods.covariates.iter().map(String::as_str)).collect()
    }

    /// The plan without the metrics that these outcomes do not have, if a primary metric is asked for: a plan may have
    /// metrics of several files. Without one, they stay, and are a mistake.
    #[must_use]
    pub fn within(
        &self,
        columns: &[String],
        asked: &MetricRequests,
        exploratory: &mut Vec<Exploratory>,
    ) -> Self {
        if asked.primary.is_empty() {
            return self.clone();
        }
        let plan = self.known(columns);
        let of = |plan: &Self| -> Vec<String> {
            plan.metrics.iter().chain(&plan.guardrails).map(|metric| metric.name.clone()).collect()
        };
        let known = of(&plan);
        let lost = of(self).into_iter().filter(|name| !known.contains(name));
        exploratory.extend(lost.map(Exploratory::LeftOut));
        plan
    }

    /// The plan without the metrics that these outcomes do not have.
    #[must_use]
    pub fn known(&self, columns: &[String]) -> Self {
        let mut plan = self.clone();
        let is_known =
            |name: &str| BUILT_IN.contains(&name) || columns.iter().any(|column| column == name);
        for metrics in [&mut plan.metrics, &mut plan.guardrails] {
            metrics
                .retain(|metric| is_known(&metric.name) || metric.name.split('/').all(&is_known));
        }
        plan.caps.retain(|cap| is_known(&cap.metric));
        plan.methods.covariates.retain(|covariate| is_known(covariate));
        plan
    }

    /// The metrics to analyze: those that are asked for, then those of the plan. Adds what is asked beyond the plan.
    #[must_use]
    pub fn metrics(
        &self,
        asked: MetricRequests,
        exploratory: &mut Vec<Exploratory>,
    ) -> MetricRequests {
        let roles = [
            ("--metric", &asked.primary, &self.metrics),
            ("--guardrail", &asked.guardrail, &self.guardrails),
        ];
        for (option, asked, planned) in roles {
            let unplanned = asked.iter().filter(|request| !planned.contains(request));
            let mark = |request: &MetricRequest| {
                Exploratory::Unplanned(format!("{option} {}", request.name))
            };
            exploratory.extend(unplanned.map(mark));
        }
        let names: Vec<String> = [&asked.primary, &asked.guardrail, &asked.exploratory]
            .into_iter()
            .flatten()
            .map(|request| request.name.clone())
            .collect();
        let and = |asked: Vec<MetricRequest>, planned: &[MetricRequest]| {
            let others = planned.iter().filter(|request| !names.contains(&request.name));
            asked.into_iter().chain(others.cloned()).collect()
        };
        MetricRequests {
            primary: and(asked.primary, &self.metrics),
            guardrail: and(asked.guardrail, &self.guardrails),
            exploratory: asked.exploratory,
        }
    }

    /// By what results are shown: those of the plan, then those that are asked for. Segments decide nothing, so more of them
    /// do not make the analysis exploratory.
    #[must_use]
    pub fn dimensions(&self, asked: &[String]) -> Vec<Dimension> {
        let planned = self.segments.iter().map(|name| (name, true));
        let asked = asked.iter().filter(|name| !self.segments.contains(name));
        let all = planned.chain(asked.map(|name| (name, false)));
        all.map(|(name, planned)| Dimension { name: name.clone(), planned }).collect()
    }

    /// The methods: those that are asked for, then those of the plan. Adds what is asked beyond the plan.
    #[must_use]
    pub fn methods(&self, asked: &Methods, exploratory: &mut Vec<Exploratory>) -> Methods {
        let planned = &self.methods;
        let covariates =
            asked.covariates.iter().filter(|column| !planned.covariates.contains(column));
        let options = covariates
            .map(|column| format!("--covariate {column}"))
            .chain(
                asked
                    .looks
                    .filter(|looks| planned.looks != Some(*looks))
                    .map(|looks| format!("--looks {looks}")),
            )
            .chain(
                asked
                    .correction
                    .filter(|correction| planned.correction != Some(*correction))
                    .map(|correction| format!("--correction {}", correction.as_str())),
            )
            .chain(
                asked
                    .bayes
                    .filter(|bayes| planned.bayes != Some(*bayes))
                    .map(|bayes| format!("--prior {}:{}", bayes.mean, bayes.sd)),
            );
        exploratory.extend(options.map(Exploratory::Unplanned));
        let columns = if asked.covariates.is_empty() { planned } else { asked };
        Methods {
            covariates: columns.covariates.clone(),
            looks: asked.looks.or(planned.looks),
            correction: asked.correction.or(planned.correction),
            bayes: asked.bayes.or(planned.bayes),
        }
    }

    /// The caps: those that are asked for, then those of the plan. Adds what is asked beyond the plan.
    #[must_use]
    pub fn caps(&self, asked: &[Cap], exploratory: &mut Vec<Exploratory>) -> Vec<Cap> {
        let unplanned = asked.iter().filter(|cap| !self.caps.contains(cap));
        let mark =
            |cap: &Cap| Exploratory::Unplanned(format!("--cap {}={}%", cap.metric, cap.quantile));
        exploratory.extend(unplanned.map(mark));
        let is_asked = |cap: &Cap| asked.iter().any(|other| other.metric == cap.metric);
        let planned = self.caps.iter().filter(|cap| !is_asked(cap));
        asked.iter().chain(planned).cloned().collect()
    }
}

/// What failed and was accepted by an option.
pub(crate) fn accepted(srm: &Srm, allow_srm: bool, checks: &[Check]) -> Vec<Exploratory> {
    let split = (srm.verdict == SrmVerdict::Mismatch && allow_srm)
        .then(|| ("the test of the split".to_owned(), "--allow-srm".to_owned()));
    let checks = checks.iter().filter(|check| check.state == CheckState::Accepted);
    let checks = checks.map(|check| {
        let by_srm = check.message.ends_with(BY_SRM);
        let option =
            if by_srm { "--allow-srm".to_owned() } else { format!("--allow {}", check.name) };
        (format!("the check {}", check.name), option)
    });
    let mut all: Vec<Exploratory> = split
        .into_iter()
        .chain(checks)
        .map(|(failed, option)| Exploratory::Accepted { failed, option })
        .collect();
    // A check of several metrics is one option.
    all.dedup();
    all
}

/// Whether the requests were made under the plan of the file.
pub(crate) fn in_force(
    plan: Option<Short>,
    seen: &BTreeMap<Option<Short>, u64>,
) -> Option<Exploratory> {
    let Some(plan) = plan else { return Some(Exploratory::NoPlan) };
    let all = seen.values().sum();
    let requests = all - seen.get(&Some(plan)).copied().unwrap_or(0);
    (requests > 0).then_some(Exploratory::OtherPlan { requests, all })
}

/// Reads a configuration with the analysis plans of its experiments, by experiment.
///
/// # Errors
/// Everything that is wrong with either.
pub fn parse(node: &Node) -> Result<(Plan, Vec<Option<AnalysisPlan>>), Problems> {
    let parsed = config::parse(node);
    let (written, mut problems) = config::analysis_plans(node);
    let read = |(index, plan): (usize, Option<config::AnalysisPlan>)| {
        plan.map(|plan| read(&plan, &format!("experiments[{index}].analysis"), &mut problems.0))
    };
    let plans = written.into_iter().enumerate().map(read).collect();
    match parsed {
        Ok(plan) if problems.0.is_empty() => Ok((plan, plans)),
        Ok(_) => Err(problems),
        Err(mut others) => {
            others.0.append(&mut problems.0);
            Err(others)
        }
    }
}

fn read(plan: &config::AnalysisPlan, at: &str, problems: &mut Vec<Problem>) -> AnalysisPlan {
    let mut names: Vec<String> = Vec::new();
    let mut metrics = |texts: &[String], key: &str, guardrail: bool| {
        let mut metrics = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let parsed: Result<MetricRequest, String> = text.parse();
            let parsed = parsed.and_then(|metric| {
                if metric.margin.is_some() && !guardrail {
                    return Err(format!("\"{text}\" has a margin, which only a guardrail has"));
                }
                if names.contains(&metric.name) {
                    return Err(format!("\"{}\" is given twice; give it one role", metric.name));
                }
                names.push(metric.name.clone());
                let of_model = plan.model.is_some()
                    && ModelMetric::named(&metric.name).is_some_and(|of| of.goal().is_some());
                match metric.doubt().filter(|_| !of_model) {
                    Some(doubt) => Err(format!("\"{}\" has no direction: {doubt}", metric.name)),
                    None => Ok(metric),
                }
            });
            match parsed {
                Ok(metric) => metrics.push(metric),
                Err(message) => problems.push(Problem {
                    path: format!("{at}.{key}[{index}]"),
                    code: Code::BadMetric,
                    message,
                    hint:
                        "a metric is NAME[=KIND][:increase|decrease], as in cost:decrease, and a \
                           guardrail ends in a margin: error_rate:0.5pt"
                            .to_owned(),
                }),
            }
        }
        metrics
    };
    let (primary, guardrails) =
        (metrics(&plan.metrics, "metrics", false), metrics(&plan.guardrails, "guardrails", true));
    for (index, segment) in plan.segments.iter().enumerate() {
        if let Err(message) = dimension(segment) {
            problems.push(Problem {
                path: format!("{at}.segments[{index}]"),
                code: Code::BadMetric,
                message,
                hint:
                    "name a column of the outcomes or a field of the access log that the variants \
                       cannot change, such as country"
                        .to_owned(),
            });
        }
    }
    let mut caps = Vec::new();
    for (metric, quantile) in plan.cap.iter().cloned() {
        let kind = |request: &MetricRequest| request.name == metric && !request.can_be_capped();
        if BUILT_IN.contains(&metric.as_str())
            || metric == crate::ACCURACY
            || primary.iter().chain(&guardrails).any(kind)
            || metric.is_empty()
        {
            problems.push(Problem {
                path: format!("{at}.cap.{metric}"),
                code: Code::BadMetric,
                message: format!(
                    "\"{metric}\" cannot be capped: a cap is for means of the outcomes"
                ),
                hint: "name a column of the outcomes, which is then a mean per unit: revenue=mean"
                    .to_owned(),
            });
        }
        caps.push(Cap { metric, quantile });
    }
    AnalysisPlan {
        metrics: primary,
        guardrails,
        planned_units: plan.planned_units,
        attribution: plan.attribution,
        caps,
        segments: plan.segments.clone(),
        model: plan.model.clone(),
        prices: plan.prices.clone(),
        steps: plan.steps.clone(),
        methods: plan.methods.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(analysis: &str) -> Result<(Plan, Vec<Option<AnalysisPlan>>), Problems> {
        let file = format!(
            r#"{{"experiments": [{{"name": "e", "unit": [{{"header": "u"}}], "baseline": "b",
            "variants": [{{"name": "b"}}, {{"name": "c", "weight": 5}}], "analysis": {analysis}}}]}}"#
        );
        parse(&serde_json::from_str(&file).unwrap())
    }

    #[test]
    fn metrics_are_read_as_the_command_reads_them() {
        let (_, plans) = parsed(r#"{"metrics": ["revenue=mean:increase"], "guardrails": ["error_rate:0.5pt"], "planned_units": 400,
            "attribution": "7d", "cap": {"revenue": "99.9%"}}"#).unwrap();
        let plan = plans.into_iter().next().flatten().unwrap();
        assert_eq!(plan.metrics, ["revenue=mean:increase".parse().unwrap()]);
        assert_eq!(plan.guardrails, ["error_rate:0.5pt".parse().unwrap()]);
        assert_eq!(plan.planned_units, Some(400));
        assert_eq!(plan.attribution, Some(Millis::new(7 * 86_400_000)));
        assert_eq!(plan.caps, ["revenue=99.9%".parse().unwrap()]);
    }

    #[test]
    fn a_metric_that_cannot_be_read_has_its_path() {
        let problems = parsed(
            r#"{"metrics": ["a=median", "error_rate:1pt", "b", "cost"], "guardrails": ["b:5%", "latency_p95:much", "c=ratio:5%"],
            "segments": ["x", "status"], "cap": {"b": "99%", "c": "99%", "latency_mean": "99%", "d": "99%"}}"#,
        )
        .unwrap_err();
        let found: Vec<String> =
            problems.0.iter().map(|problem| format!("{} {}", problem.path, problem.code)).collect();
        let at = "experiments[0].analysis";
        let wanted = [
            format!("{at}.metrics[0] bad-metric"),
            format!("{at}.metrics[1] bad-metric"),
            format!("{at}.metrics[3] bad-metric"),
            format!("{at}.guardrails[0] bad-metric"),
            format!("{at}.guardrails[1] bad-metric"),
            format!("{at}.segments[1] bad-metric"),
            format!("{at}.cap.c bad-metric"),
            format!("{at}.cap.latency_mean bad-metric"),
        ];
        assert_eq!(found, wanted);
    }
}
