{%- import "dialect" as d -%}
{%- macro known(x) -%}NULLIF(NULLIF({{ d.text(x) }}, '-'), ''){%- endmacro -%}
{#- A value of the exposure: the text between " key=" and the next space. -#}
{%- macro value(key) -%}
{%- if typed -%}{{ known(key) }}{%- else -%}NULLIF({{ d.part(d.part('head', ' ' ~ key ~ '=', 2), ' ', 1) }}, ''){%- endif -%}
{%- endmacro -%}
{%- macro flagged(flags) -%}
({% for flag in flags %}flags LIKE '%,{{ flag }},%'{% if not loop.last %} OR {% endif %}{% endfor %})
{%- endmacro -%}
{%- macro arm_of(x) -%}CASE {{ x }}{% for name in variants %} WHEN {{ quote(name) }} THEN {{ loop.index0 }}{% endfor %} END{%- endmacro -%}
{%- macro of(alias, names) -%}{% for name in names %}{{ alias }}.{{ name }} AS {{ name }}{% if not loop.last %}, {% endif %}{% endfor %}{%- endmacro -%}
{#- A row of the result. -#}
{%- macro row(kind, from, name="''", pass='0', phase='NULL', arm='NULL', place='NULL', n='NULL', s=[], items='NULL') -%}
SELECT '{{ kind }}' AS kind, {{ d.int(pass) }} AS pass, {{ d.int(phase) }} AS phase, {{ d.int(arm) }} AS arm,
    {{ d.text(name) }} AS name, {{ d.int(place) }} AS place, {{ d.int(n) }} AS n,
    {% for i in range(7) %}{{ d.float(s[i] if i < s | length else 'NULL') }} AS s{{ i + 1 }}, {% endfor %}
    {{ d.text(items) }} AS items
  {{ from }}
{%- endmacro -%}
{#- Sums of pairs y and x: size, means, squared deviations and their products. -#}
{%- macro pairs(kind, from, group, name, pass='pass', phase='phase', arm='arm', place='NULL') -%}
{{ row(kind, from ~ ' GROUP BY ' ~ group, name, pass, phase, arm, place, 'COUNT(*)',
    ['AVG(y)', '0', d.variance('y') ~ ' * COUNT(*)', 'AVG(x)', '0', d.variance('x') ~ ' * COUNT(*)', d.covariance('y', 'x') ~ ' * COUNT(*)']) }}
{%- endmacro -%}
{%- set moment = d.div('(begun_ms - s.begin_ms) * 48', 's.end_ms - s.begin_ms + 1') -%}
{%- macro same_rows(columns) -%}{% for column in columns %}(c{{ loop.index0 }} = other{{ loop.index0 }} OR c{{ loop.index0 }} IS NULL AND other{{ loop.index0 }} IS NULL){% if not loop.last %} AND {% endif %}{% endfor %}{%- endmacro -%}
{%- macro listed(names) -%}{% for name in names %}{{ quote(name) }}{% if not loop.last %}, {% endif %}{% endfor %}{%- endmacro -%}
{#- The values of segments that are in one of the tables; text that says that there is none is none. -#}
{%- macro values_of(place) -%}{% for segment in segments if segment.place == place %}, CASE WHEN LOWER(TRIM({{ d.text(segment.name) }})) NOT IN ('', '-', 'null') THEN TRIM({{ d.text(segment.name) }}) END AS g{{ segment.index }}{% endfor %}{%- endmacro -%}
{%- macro segments_of(place, prefix='', call='') -%}{% for segment in segments if segment.place == place %}, {% if call %}{{ call }}({{ prefix }}g{{ segment.index }}){% else %}{{ prefix }}g{{ segment.index }}{% endif %} AS g{{ segment.index }}{% endfor %}{%- endmacro -%}
{%- macro dimension_of(x) -%}CASE {{ x }}{% for segment in segments %} WHEN {{ segment.index }} THEN {{ quote(segment.name) }}{% endfor %} END{%- endmacro -%}
{%- macro cap_of(metric) -%}CASE {{ metric }}{% for cap in caps %} WHEN {{ quote(cap.metric) }} THEN {{ cap.ppm }}{% endfor %} END{%- endmacro -%}
{%- set or_all = '\n  UNION ALL ' -%}
-- The sums of {{ experiment }}, trial {{ trial }}, for {{ dialect }}: sidetrack analyze summary FILE --from RESULT
{% if not has_run %}-- This query was parsed for {{ dialect }}, but has not run there yet: compare its result with analyze run first.
{% endif %}-- Made by: sidetrack analyze sql. Times are UTC: set the time zone of the session to UTC.
-- Tables: {{ exposures }} (access log){% if outcomes %}, {{ outcomes.table }} (outcomes by {{ outcomes.key }}){% endif %}

{{ d.begin() }}
-- The lines of the log. "-" and empty text are missing values.
{{ d.step('raw_lines') }}
  SELECT {{ d.millis('time') }} AS ms, {{ known('request_id') }} AS request_id, {{ known('experiment') }} AS experiment,
    {{ known('assigned') }} AS assigned, {{ known('served') }} AS served, {% if has_rollout %}{{ known('phase') }}{% else %}CAST(NULL AS {{ d.text_type() }}){% endif %} AS rollout,
    {{ d.whole(known('status')) }} AS status, {{ d.whole(known('duration')) }} AS duration,
    ',' || REPLACE(COALESCE({{ d.text('flags') }}, ''), ' ', '') || ',' AS flags,
    CASE WHEN {{ known('rescued') }} = 'true' THEN 1 ELSE 0 END AS rescued{{ values_of('exposures') }},
{%- if typed %}
    {% for key in ['trial', 'plan', 'weights', 'reason', 'unit'] %}{{ known(key) }} AS {{ key }}, {% endfor %}{{ d.whole(known('bucket')) }} AS bucket
  FROM {{ exposures }}
{{ d.end('raw_lines') }}
{{ d.step('parsed') }}
  SELECT ms, request_id, experiment, assigned, served, rollout, status, duration, flags, rescued, trial, plan, weights, reason, unit, bucket{{ segments_of('exposures') }}
  FROM raw_lines
{{ d.end('parsed') }}
{%- else %}
    -- The unit comes last, because it may contain anything.
    ' ' || {{ d.part('exposure', ' unit=', 1) }} || ' ' AS head,
    CASE WHEN {{ d.position('exposure', ' unit=') }} > 0 THEN SUBSTR(exposure, {{ d.position('exposure', ' unit=') }} + 6) END AS unit
  FROM {{ exposures }}
{{ d.end('raw_lines') }}
{{ d.step('parsed') }}
  SELECT ms, request_id, experiment, assigned, served, rollout, status, duration, flags, rescued,
    {{ value('trial') }} AS trial, {{ value('plan') }} AS plan, {{ value('weights') }} AS weights, {{ value('reason') }} AS reason,
    NULLIF(NULLIF(unit, '-'), '') AS unit, {{ d.whole(value('bucket')) }} AS bucket{{ segments_of('exposures') }}
  FROM raw_lines
{{ d.end('parsed') }}
{%- endif %}

-- Lines of the experiment. A line without weights belongs to those of the file, a line without a trial to its trial.
{{ d.step('own_lines') }}
  SELECT ms, {{ d.div('ms', 60000) }} AS minute, request_id, assigned, served, status, duration, flags, rescued, plan, reason, unit, bucket, rollout{{ segments_of('exposures') }},
    {{ arm_of('assigned') }} AS arm, trial,
    COALESCE(trial, '{{ of_file }}') AS own_trial, CASE WHEN weights IS NULL THEN 0 ELSE 1 END AS has_weights,
    COALESCE(weights, CASE{% for stratum in strata %} WHEN {% if stratum.phase %}rollout = {{ quote(stratum.phase) }}{% else %}rollout IS NULL{% endif %} THEN {{ quote(stratum.weights) }}{% endfor %} END) AS weights
  FROM (SELECT ms, request_id, experiment, assigned, served, rollout, status, duration, flags, rescued, plan, weights, reason, unit, bucket{{ segments_of('exposures') }},
    CASE WHEN {{ d.matches('trial', '^[0-9a-fA-F]{8}$') }} THEN LOWER(trial) END AS trial FROM parsed) parsed_trials
  WHERE experiment = {{ quote(experiment) }}
{{ d.end('own_lines') }}

-- Each set of weights, as in "fancy=300000/500000": which buckets each candidate holds.
{{ d.step('weight_parts') }}
  SELECT weights{% for i in range(1, parts + 1) %},
    {{ d.part(d.part('weights', ',', i), '=', 1) }} AS name{{ i }},
    COALESCE({{ d.whole("NULLIF(" ~ d.part(d.part(d.part('weights', ',', i), '=', 2), '/', 1) ~ ", '')") }}, 0) AS weight{{ i }},
    COALESCE({{ d.whole("NULLIF(" ~ d.part(d.part(d.part('weights', ',', i), '=', 2), '/', 2) ~ ", '')") }}, 0) AS width{{ i }}
{%- endfor %}
  FROM (SELECT DISTINCT weights FROM own_lines WHERE weights IS NOT NULL) all_weights
{{ d.end('weight_parts') }}
{{ d.step('judged') }}
  SELECT {{ of('l', ['ms', 'minute', 'request_id', 'assigned', 'served', 'status', 'duration', 'flags', 'rescued', 'plan', 'reason', 'unit', 'bucket', 'rollout', 'arm', 'trial', 'weights']) }}{{ segments_of('exposures', 'l.') }},
    CASE
      WHEN own_trial <> '{{ trial }}' THEN 'other_trial'
{%- if since is not none or until is not none %}
      WHEN ms IS NULL THEN 'malformed'
      WHEN {% if since is not none %}ms < {{ since }}{% endif %}{% if since is not none and until is not none %} OR {% endif %}{% if until is not none %}ms >= {{ until }}{% endif %} THEN 'other_time'
{%- endif %}
      WHEN reason = 'override' THEN 'overridden'
      WHEN reason IN ('disabled', 'missing_unit', 'excluded', 'not_started') THEN reason
      WHEN reason NOT IN ('hash', 'random', 'breaker_open', 'probe') THEN 'malformed'
{%- if user_hash %}
      WHEN reason = 'random' THEN 'missing_unit'
{%- endif %}
      WHEN ms IS NULL OR assigned IS NULL THEN 'malformed'
      WHEN arm IS NULL THEN CASE WHEN has_weights = 1 THEN 'other_variant' ELSE 'malformed' END
      WHEN status IS NULL OR status < 0 OR status > 999 OR duration IS NULL OR duration < 0 OR duration > 4294967295 THEN 'malformed'
      WHEN l.weights IS NULL THEN 'other_weights'
      WHEN bucket < 0 OR bucket > 999999 THEN 'malformed'
      WHEN bucket IS NOT NULL AND NOT (CASE
{%- for i in range(1, parts + 1) %}
        WHEN bucket >= 0{% for j in range(1, i) %} + width{{ j }}{% endfor %} AND bucket < weight{{ i }}{% for j in range(1, i) %} + width{{ j }}{% endfor %} THEN assigned = name{{ i }}
{%- endfor %}
        ELSE assigned NOT IN ({% for i in range(1, parts + 1) %}name{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}) END) THEN 'other_weights'
      ELSE 'counts'
    END AS why
  FROM own_lines l LEFT JOIN weight_parts p ON p.weights = l.weights
{{ d.end('judged') }}

-- Requests that count, each once: lines with the same request, time, duration, status, variant and unit are deliveries of one.
{{ d.step('counted') }}
  SELECT ms, minute, request_id, unit, arm, status, duration, rollout, weights, plan{{ segments_of('exposures') }},
    CASE WHEN trial IS NULL THEN 1 ELSE 0 END AS untold,
    CASE WHEN reason IN ('breaker_open', 'probe') THEN 1 ELSE 0 END AS breaker,
    CASE WHEN status >= 300 AND status < 500 THEN 1 ELSE 0 END AS refused,
    CASE WHEN rescued = 1 OR served <> assigned THEN 1 ELSE 0 END AS elsewhere, rescued,
    -- How the request ended, by its status and Envoy's flags.
    CASE
      WHEN status = 0 THEN CASE WHEN {{ flagged(['DC', 'DR', 'DPE']) }} THEN 'aborted' ELSE 'failed' END
      WHEN {{ flagged(['OM']) }} OR status >= 500 THEN 'failed'
      WHEN status = 101 THEN 'answered'
      WHEN {{ flagged(['DC', 'DR', 'DPE']) }} THEN 'aborted'
      WHEN {{ flagged(['UH', 'NC', 'UF', 'UO', 'DF', 'DO', 'UDO', 'UT', 'LR', 'UR', 'UC', 'UMSDR', 'UPE']) }} THEN 'failed'
      WHEN {{ flagged(['SI', 'DT']) }} THEN CASE WHEN status = 408 THEN 'aborted' ELSE 'failed' END
      ELSE 'answered'
    END AS ending
  FROM judged WHERE why = 'counts'
{{ d.end('counted') }}
{{ d.step('once') }}
  SELECT ms, MIN(minute) AS minute, request_id, unit, arm, status, duration, MIN(rollout) AS rollout, MIN(weights) AS weights,
    MIN(untold) AS untold, MAX(breaker) AS breaker, MAX(refused) AS refused, MAX(elsewhere) AS elsewhere, MAX(rescued) AS rescued,
    MIN(ending) AS ending, COUNT(*) AS lines
  FROM counted WHERE request_id IS NOT NULL GROUP BY ms, request_id, unit, arm, status, duration
  UNION ALL
  SELECT ms, minute, request_id, unit, arm, status, duration, rollout, weights, untold, breaker, refused, elsewhere, rescued, ending, 1
  FROM counted WHERE request_id IS NULL
{{ d.end('once') }}

-- Phases: the contiguous runs of each set of weights. A pause of more than ten minutes ends a run if at least five
-- minutes of the set were expected in it.
{{ d.step('active') }}
  SELECT DISTINCT COALESCE(rollout, '') AS rollout, weights, minute FROM once
{{ d.end('active') }}
{{ d.step('pauses') }}
  SELECT rollout, weights, minute, LAG(minute) OVER (PARTITION BY rollout, weights ORDER BY minute) AS before_minute FROM active
{{ d.end('pauses') }}
{{ d.step('set_share') }}
  SELECT o.rollout AS rollout, o.weights AS weights, {{ d.float('o.minutes') }} / (o.minutes
      + SUM(CASE WHEN a.minute >= o.first_minute AND a.minute <= o.last_minute AND (a.rollout <> o.rollout OR a.weights <> o.weights) THEN 1 ELSE 0 END)) AS share
  FROM (SELECT rollout, weights, COUNT(*) AS minutes, MIN(minute) AS first_minute, MAX(minute) AS last_minute FROM active GROUP BY rollout, weights) o
    CROSS JOIN active a
  GROUP BY o.rollout, o.weights, o.minutes
{{ d.end('set_share') }}
{{ d.step('ends') }}
  SELECT p.rollout AS rollout, p.weights AS weights, p.minute AS minute
  FROM (SELECT p.rollout AS rollout, p.weights AS weights, p.minute AS minute, p.before_minute AS before_minute, s.share AS share
    FROM pauses p JOIN set_share s ON s.rollout = p.rollout AND s.weights = p.weights WHERE p.minute - p.before_minute > 10) p
    CROSS JOIN active a
  WHERE a.minute > p.before_minute AND a.minute < p.minute AND (a.rollout <> p.rollout OR a.weights <> p.weights)
  GROUP BY p.rollout, p.weights, p.minute, p.share
  HAVING COUNT(*) * p.share >= 5
{{ d.end('ends') }}
{{ d.step('runs') }}
  SELECT rollout, weights, MIN(minute) AS from_minute, MAX(minute) AS to_minute
  FROM (SELECT a.rollout AS rollout, a.weights AS weights, a.minute AS minute,
      SUM(CASE WHEN e.minute IS NULL THEN 0 ELSE 1 END) OVER (PARTITION BY a.rollout, a.weights ORDER BY a.minute) AS run
    FROM active a LEFT JOIN ends e ON e.rollout = a.rollout AND e.weights = a.weights AND e.minute = a.minute) numbered
  GROUP BY rollout, weights, run
{{ d.end('runs') }}
{{ d.step('phases') }}
  SELECT rollout, weights, from_minute, to_minute,
    LEAD(from_minute) OVER (PARTITION BY rollout, weights ORDER BY from_minute) AS next_minute,
    ROW_NUMBER() OVER (ORDER BY from_minute, to_minute,
      CASE{% for stratum in strata %} WHEN rollout = {{ quote(stratum.phase or '') }} AND weights = {{ quote(stratum.weights) }} THEN {{ loop.index0 }}{% endfor %} ELSE -1 END,
      rollout, weights) - 1 AS phase
  FROM runs
{{ d.end('phases') }}

-- Requests with their phase and the group of their unit (for the error of quantiles): all of them (pass 0), and without
-- the minutes in which a breaker was open (pass 1).
{{ d.step('requests') }}
  SELECT p.phase AS phase, {{ of('o', ['ms', 'minute', 'request_id', 'unit', 'arm', 'duration', 'untold', 'breaker', 'refused', 'elsewhere', 'rescued', 'lines']) }},
    CASE WHEN o.ending = 'failed' OR o.rescued = 1 THEN 1 ELSE 0 END AS failed,
    CASE WHEN o.ending = 'aborted' THEN 1 ELSE 0 END AS aborted,
    CASE WHEN {{ d.matches('COALESCE(o.unit, o.request_id)', '^[0-9a-f]{32}$') }} THEN COALESCE(o.unit, o.request_id)
      WHEN {{ d.matches('COALESCE(o.unit, o.request_id)', '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$') }} THEN REPLACE(COALESCE(o.unit, o.request_id), '-', '')
      ELSE {{ d.sha256("COALESCE(o.unit, o.request_id, '')") }} END AS hash
  FROM once o JOIN phases p ON p.rollout = COALESCE(o.rollout, '') AND p.weights = o.weights
  WHERE o.minute >= p.from_minute AND (p.next_minute IS NULL OR o.minute < p.next_minute)
{{ d.end('requests') }}
-- Minutes in which a breaker was open.
{{ d.step('closed') }}
  SELECT DISTINCT minute FROM requests WHERE breaker = 1
{{ d.end('closed') }}
{{ d.step('passes') }}
  SELECT 0 AS pass, {{ of('r', ['phase', 'ms', 'minute', 'request_id', 'unit', 'arm', 'duration', 'untold', 'breaker', 'refused', 'elsewhere', 'rescued', 'lines', 'failed', 'aborted', 'hash']) }} FROM requests r
  UNION ALL
  SELECT 1 AS pass, {{ of('r', ['phase', 'ms', 'minute', 'request_id', 'unit', 'arm', 'duration', 'untold', 'breaker', 'refused', 'elsewhere', 'rescued', 'lines', 'failed', 'aborted', 'hash']) }} FROM requests r
    CROSS JOIN (SELECT COUNT(*) AS minutes FROM closed) k LEFT JOIN closed c ON c.minute = r.minute
  WHERE k.minutes > 0 AND c.minute IS NULL
{{ d.end('passes') }}
{{ d.step('bins') }}
  SELECT pass, phase, arm, grp, bin, COUNT(*) AS n
  FROM (SELECT pass, phase, arm,
      {{ d.mod(d.mod(d.hex("SUBSTR(hash, 1, 8)") ~ ' * 500009 + ' ~ d.hex("SUBSTR(hash, 9, 8)") ~ ' * 300007 + ' ~ d.hex("SUBSTR(hash, 17, 8)") ~ ' * 200003 + ' ~ d.hex("SUBSTR(hash, 25, 8)") ~ ' * 100003', 2147483647), 100) }} AS grp,
      -- Whole milliseconds up to 1023, then 64 bins for each doubling.
      CASE WHEN duration < 1024 THEN duration
{%- for octave in range(0, 22) %}
        WHEN duration < {{ 1024 * 2 ** (octave + 1) }} THEN {{ 1024 + 64 * octave }} + {{ d.div('(duration - ' ~ 1024 * 2 ** octave ~ ') * 64', 1024 * 2 ** octave) }}
{%- endfor %}
      END AS bin
    FROM passes WHERE aborted = 0) binned
  GROUP BY pass, phase, arm, grp, bin
{{ d.end('bins') }}

-- A unit in a phase. Its earliest request there decides its variant; it is packed with the time to be found by MIN.
{{ d.step('packed_cells') }}
  SELECT pass, unit, phase, MIN(ms * 256 + arm) AS first_packed, COUNT(*) AS requests, SUM(failed) AS failed, SUM(aborted) AS aborted,
    SUM(refused) AS refused, SUM(CASE WHEN aborted = 0 THEN duration ELSE 0 END) AS latency,
    CASE WHEN MIN(arm) < MAX(arm) THEN 1 ELSE 0 END AS torn, MIN(untold) AS all_untold, MAX(untold) AS any_untold
  FROM passes WHERE unit IS NOT NULL GROUP BY pass, unit, phase
{{ d.end('packed_cells') }}
{{ d.step('cells') }}
  SELECT c.*, LEAD(first_ms) OVER (PARTITION BY pass, unit ORDER BY first_ms, phase) AS next_ms,
    ROW_NUMBER() OVER (PARTITION BY pass, unit ORDER BY first_ms, phase) AS place
  FROM (SELECT p.*, {{ d.div('first_packed', 256) }} AS first_ms, {{ d.mod('first_packed', 256) }} AS arm FROM packed_cells p) c
{{ d.end('cells') }}
{{ d.step('units') }}
  SELECT pass, unit, SUM(requests) AS requests, MAX(torn) AS torn, CASE WHEN MIN(arm) < MAX(arm) THEN 1 ELSE 0 END AS moved,
    MIN(all_untold) AS all_untold, MAX(any_untold) AS any_untold, COUNT(*) AS cells, MIN(first_ms) AS begun_ms
  FROM cells GROUP BY pass, unit
{{ d.end('units') }}
-- The heaviest units: about a hundredth of them, by the number of their requests.
{{ d.step('weights_of_units') }}
  SELECT w.*, COALESCE(SUM(units) OVER (PARTITION BY pass ORDER BY requests DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS above,
    SUM(units) OVER (PARTITION BY pass) AS all_units
  FROM (SELECT pass, requests, COUNT(*) AS units FROM units GROUP BY pass, requests) w
{{ d.end('weights_of_units') }}
{{ d.step('heavy') }}
  SELECT pass, CASE WHEN soft >= COALESCE(hard, 0) AND hard IS NOT NULL THEN LEAST(soft, 4 * hard) WHEN hard IS NOT NULL THEN LEAST(hard, 4 * hard) ELSE soft END AS above
  FROM (SELECT pass,
      MAX(CASE WHEN above + units > wanted AND 2 * above >= wanted THEN requests END) AS soft,
      MAX(CASE WHEN above + units > most THEN requests END) AS hard
    FROM (SELECT w.*, {{ d.div('all_units', 20) }} AS most, LEAST(GREATEST({{ d.div('all_units', 100) }}, 10), {{ d.div('all_units', 20) }}) AS wanted FROM weights_of_units w) limits
    GROUP BY pass) found
{{ d.end('heavy') }}
{{ d.step('weighed') }}
  SELECT {{ of('c', ['pass', 'unit', 'phase', 'requests', 'failed', 'aborted', 'refused', 'latency', 'first_ms', 'arm', 'place']) }}, u.requests AS all_requests, u.cells AS cells_of_unit, u.begun_ms AS begun_ms, CASE WHEN u.requests > h.above THEN 1 ELSE 0 END AS is_heavy
  FROM cells c JOIN units u ON u.pass = c.pass AND u.unit = c.unit JOIN heavy h ON h.pass = c.pass
{{ d.end('weighed') }}
{{ d.step('span') }}
  SELECT MIN(ms) AS begin_ms, MAX(ms) AS end_ms FROM requests
{{ d.end('span') }}
{%- if outcomes %}
{%- set columns = outcomes.columns %}

-- Outcomes by {{ outcomes.key }}.
{%- if outcomes.by_request %}
{{ d.step('labels') }}
  SELECT CAST(request_id AS {{ d.text_type() }}) AS request_id, COUNT(*) AS label_rows,
    {% if attribution is not none %}MIN({{ d.millis('time') }}) AS label_ms, {% endif %}
    {%- for column in columns %}MIN({{ d.float(column) }}) AS c{{ loop.index0 }}, MAX({{ d.float(column) }}) AS other{{ loop.index0 }}{% if not loop.last %}, {% endif %}{% endfor %}{{ segments_of('outcomes', call='MIN') }}
  FROM {% if has_outcome_segments %}(SELECT *{{ values_of('outcomes') }} FROM {{ outcomes.table }}) segmented_outcomes{% else %}{{ outcomes.table }}{% endif %} WHERE request_id IS NOT NULL GROUP BY CAST(request_id AS {{ d.text_type() }})
{{ d.end('labels') }}
{{ d.step('labeled') }}
  SELECT {{ of('r', ['pass', 'unit', 'phase', 'arm', 'ms', 'request_id', 'failed', 'aborted']) }}{% for column in columns %}, l.c{{ loop.index0 }} AS c{{ loop.index0 }}{% endfor %}{{ segments_of('outcomes', 'l.') }}
  {%- if attribution is not none %}, l.label_ms AS label_ms{% endif %}
  FROM passes r JOIN labels l ON l.request_id = r.request_id
{{ d.end('labeled') }}
{{ d.step('met') }}
  SELECT request_id, COUNT(*) AS requests FROM labeled WHERE pass = 0 GROUP BY request_id
{{ d.end('met') }}
{{ d.step('lines_of_labels') }}
  SELECT l.request_id AS request_id, MAX(CASE WHEN j.why = 'other_trial' THEN 1 ELSE 0 END) AS other_trial
  FROM labels l JOIN (SELECT request_id, why FROM judged UNION ALL SELECT request_id, 'other_experiment' FROM parsed WHERE experiment IS NULL OR experiment <> {{ quote(experiment) }}) j
    ON j.request_id = l.request_id
  GROUP BY l.request_id
{{ d.end('lines_of_labels') }}
{{ d.step('outcomes_of_cells') }}
  SELECT pass, unit, phase{% for column in columns %},
    SUM(c{{ loop.index0 }}) AS sum{{ loop.index0 }}, COUNT(c{{ loop.index0 }}) AS count{{ loop.index0 }},
    SUM(CASE WHEN c{{ loop.index0 }} IS NOT NULL AND failed = 0 AND aborted = 0 THEN 1 ELSE 0 END) AS served{{ loop.index0 }}{% endfor %}
  FROM labeled WHERE unit IS NOT NULL GROUP BY pass, unit, phase
{{ d.end('outcomes_of_cells') }}
{{ d.step('sized') }}
  -- Of a request in several lines, the first; of rows that several requests share, the first request.
  SELECT MIN(arm) AS arm{% for column in columns %}, MIN(c{{ loop.index0 }}) AS c{{ loop.index0 }}{% endfor %} FROM labeled WHERE pass = 0 GROUP BY request_id
{{ d.end('sized') }}
{%- else %}
{%- macro each() -%}{% for column in columns %}, c{{ loop.index0 }}{% endfor %}{%- endmacro %}
{{ d.step('told_rows') }}
  -- Rows with a time that are equal in all columns are deliveries of one.
  SELECT {{ known('unit') }} AS unit, {% if outcomes.time %}{{ d.millis('time') }}{% else %}CAST(NULL AS {{ d.int_type() }}){% endif %} AS ms{% for column in columns %}, {{ d.float(column) }} AS c{{ loop.index0 }}{% endfor %}{{ values_of('outcomes') }}
  FROM {% if outcomes.time %}(SELECT DISTINCT * FROM {{ outcomes.table }}) distinct_rows{% else %}{{ outcomes.table }}{% endif %}
{{ d.end('told_rows') }}
{{ d.step('named_rows') }}
  SELECT r.*, {{ d.digest(digest_prefix, "r.unit") }} AS digest{% if covariates %},
    -- A row with nothing but covariates is from before the experiment, and no outcome.
    CASE WHEN {% for at in outcomes.metric_columns %}c{{ at }} IS NULL AND {% endfor %}({% for covariate in covariates %}c{{ covariate.column }} IS NOT NULL{% if not loop.last %} OR {% endif %}{% endfor %}) THEN 1 ELSE 0 END{% else %}, 0{% endif %} AS is_before
  FROM told_rows r WHERE unit IS NOT NULL
{{ d.end('named_rows') }}
{{ d.step('known_rows') }}
  -- The unit in plain text, or else its digest.
  SELECT COALESCE(p.unit, g.unit) AS unit, r.ms AS ms, r.is_before AS is_before{% for column in columns %}, r.c{{ loop.index0 }} AS c{{ loop.index0 }}{% endfor %}{{ segments_of('outcomes', 'r.') }}
  FROM named_rows r
    LEFT JOIN (SELECT unit FROM units WHERE pass = 0) p ON p.unit = r.unit
    LEFT JOIN (SELECT unit FROM units WHERE pass = 0) g ON g.unit = r.digest
{{ d.end('known_rows') }}
{{ d.step('matched_rows') }}
  SELECT unit, ms{{ each() }} FROM known_rows WHERE is_before = 0{% if since is not none %} AND (ms IS NULL OR ms >= {{ since }}){% endif %}{% if until is not none %} AND (ms IS NULL OR ms < {{ until }}){% endif %}
{{ d.end('matched_rows') }}
{{ d.step('placed') }}
  -- A row belongs to the phase of the latest request before it, by clocks that may differ by five seconds.
  SELECT {{ of('c', ['pass', 'unit', 'phase', 'arm', 'first_ms']) }}, r.ms AS ms{% for column in columns %}, r.c{{ loop.index0 }} AS c{{ loop.index0 }}{% endfor %}
  FROM matched_rows r JOIN cells c ON c.unit = r.unit
  WHERE CASE WHEN r.ms IS NULL THEN c.place = 1
    ELSE (c.next_ms IS NULL OR r.ms < c.next_ms) AND (r.ms >= c.first_ms OR c.place = 1 AND r.ms + 5000 >= c.first_ms) END
{{ d.end('placed') }}
{{ d.step('outcomes_of_cells') }}
  SELECT pass, unit, phase{% for column in columns %},
    SUM(c{{ loop.index0 }}) AS sum{{ loop.index0 }}, COUNT(c{{ loop.index0 }}) AS count{{ loop.index0 }}
    {%- if attribution is not none %}, SUM(CASE WHEN ms IS NULL AND c{{ loop.index0 }} IS NOT NULL THEN 1 ELSE 0 END) AS unknown{{ loop.index0 }}{% endif %}{% endfor %}
  FROM placed{% if attribution is not none %} WHERE ms IS NULL OR ms < first_ms + {{ attribution }}{% endif %} GROUP BY pass, unit, phase
{{ d.end('outcomes_of_cells') }}
{{ d.step('sized') }}
  SELECT arm{% for column in columns %}, c{{ loop.index0 }}{% endfor %} FROM placed WHERE pass = 0{% if attribution is not none %} AND (ms IS NULL OR ms < first_ms + {{ attribution }}){% endif %}
{{ d.end('sized') }}
{%- endif %}
{%- if attribution is not none %}
-- The end of the log and of the outcomes: one time in a thousand may be stray.
{{ d.step('log_ends') }}
  SELECT MAX(CASE WHEN from_end > CASE WHEN used < 100 THEN 0 ELSE {{ d.div('used + 999', 1000) }} END THEN (minute + 1) * 60000 END) AS ms
  FROM (SELECT minute, SUM(requests) OVER (ORDER BY minute DESC) AS from_end, SUM(requests) OVER () AS used
    FROM (SELECT minute, COUNT(*) AS requests FROM requests GROUP BY minute) m) c
{{ d.end('log_ends') }}
{{ d.step('outcomes_end') }}
  SELECT MAX(CASE WHEN from_end > CASE WHEN timed < 100 THEN 0 ELSE {{ d.div('timed + 999', 1000) }} END THEN ms END) AS ms
  FROM (SELECT ms, SUM(n) OVER (ORDER BY ms DESC) AS from_end, SUM(n) OVER () AS timed
    FROM (SELECT ms, COUNT(*) AS n FROM told_rows WHERE ms IS NOT NULL GROUP BY ms) m) c
{{ d.end('outcomes_end') }}
{{ d.step('known') }}
  -- Outcomes are known up to here; a window that ends later is open.
  SELECT LEAST({% if until is not none %}{{ until }}{% else %}LEAST(s.end_ms, l.ms){% endif %}, o.ms) AS ms
  FROM span s CROSS JOIN log_ends l CROSS JOIN outcomes_end o
{{ d.end('known') }}
{%- endif %}
{%- endif %}

-- All numbers of a unit in a phase.
{{ d.step('told') }}
  SELECT {{ of('w', ['pass', 'unit', 'phase', 'arm', 'first_ms', 'place', 'requests', 'failed', 'aborted', 'refused', 'latency', 'all_requests', 'is_heavy', 'cells_of_unit', 'begun_ms']) }},
    w.requests - w.aborted AS answered
{%- if outcomes %}{% for column in columns %},
    COALESCE(o.sum{{ loop.index0 }}, 0) AS sum{{ loop.index0 }}, COALESCE(o.count{{ loop.index0 }}, 0) AS count{{ loop.index0 }}
    {%- if outcomes.by_request %}, COALESCE(o.served{{ loop.index0 }}, 0) AS served{{ loop.index0 }}{% endif %}
    {%- if attribution is not none %}, MAX(COALESCE(o.unknown{{ loop.index0 }}, 0)) OVER (PARTITION BY w.pass, w.unit) AS unknown{{ loop.index0 }}{% endif %}{% endfor %},
    {% if attribution is not none %}CASE WHEN w.first_ms + {{ attribution }} > k.ms THEN 1 ELSE 0 END{% else %}0{% endif %} AS is_open
  FROM weighed w LEFT JOIN outcomes_of_cells o ON o.pass = w.pass AND o.unit = w.unit AND o.phase = w.phase
  {%- if attribution is not none %} CROSS JOIN known k{% endif %}
{%- else %}, 0 AS is_open
  FROM weighed w
{%- endif %}
{{ d.end('told') }}

-- Each metric of a unit in a phase: numerator y and denominator x.
{{ d.step('whole_values') }}
{%- for metric in metrics %}
  {% if not loop.first %}UNION ALL {% endif %}SELECT {{ quote(metric.name) }} AS metric, pass, unit, phase, arm, begun_ms, is_heavy, cells_of_unit,
    {% if covariates %}{{ metric.rows }} AS outcomes, {% endif %}{{ d.float(metric.y) }} AS y, {{ d.float(metric.x) }} AS x
  FROM told WHERE {{ metric.holds }}
{%- endfor %}
{{ d.end('whole_values') }}
{%- if caps %}
-- A cap is the smallest value that so many of all units do not exceed.
{{ d.step('value_counts') }}
  SELECT v.*, SUM(units) OVER (PARTITION BY metric, pass ORDER BY y) AS up_to, SUM(units) OVER (PARTITION BY metric, pass) AS all_units
  FROM (SELECT metric, pass, y, COUNT(*) AS units FROM whole_values WHERE metric IN ({{ listed(caps | map(attribute='metric') | list) }}) GROUP BY metric, pass, y) v
{{ d.end('value_counts') }}
{{ d.step('caps') }}
  SELECT metric, pass, MIN(y) AS cap FROM value_counts
  WHERE up_to >= {{ d.div('all_units * ' ~ cap_of('metric') ~ ' + 999999', 1000000) }} GROUP BY metric, pass
{{ d.end('caps') }}
{%- endif %}
{{ d.step('unit_values') }}
  SELECT {{ of('v', ['metric', 'pass', 'unit', 'phase', 'arm', 'begun_ms', 'is_heavy', 'cells_of_unit', 'x']) }}, {% if covariates %}v.outcomes AS outcomes, {% endif %}v.y AS whole,
{%- if caps %} CASE WHEN v.y > c.cap THEN c.cap ELSE v.y END AS y
  FROM whole_values v LEFT JOIN caps c ON c.metric = v.metric AND c.pass = v.pass
{%- else %} v.y AS y
  FROM whole_values v
{%- endif %}
{%- for measure in measures if not measure.always %}
  WHERE v.metric <> {{ quote(measure.name) }} OR v.pass IN (SELECT pass FROM passes GROUP BY pass HAVING SUM(aborted) > 0)
{%- endfor %}
{{ d.end('unit_values') }}
{%- if large_metrics %}
-- The largest values: about a hundredth of those that are not 0.
{{ d.step('sizes_of_values') }}
  SELECT v.*, SUM(units) OVER (PARTITION BY metric, pass ORDER BY size DESC) AS from_top, SUM(units) OVER (PARTITION BY metric, pass) AS all_units
  FROM (SELECT metric, pass, ABS(y) AS size, COUNT(*) AS units FROM unit_values WHERE y <> 0 AND metric IN ({{ listed(large_metrics) }}) GROUP BY metric, pass, ABS(y)) v
{{ d.end('sizes_of_values') }}
{{ d.step('large') }}
  SELECT metric, pass, LEAST(
      MAX(CASE WHEN from_top > GREATEST({{ d.div('all_units', 100) }}, 10) THEN size END),
      4 * MAX(CASE WHEN from_top > GREATEST({{ d.div('all_units', 20) }}, 20) THEN size END)) AS above
  FROM sizes_of_values WHERE all_units >= 40 GROUP BY metric, pass
{{ d.end('large') }}
{%- endif %}
{{ d.step('ratios') }}
  SELECT metric, pass, phase, arm, AVG(y) / NULLIF(AVG(x), 0) AS ratio FROM unit_values
  GROUP BY metric, pass, phase, arm HAVING COUNT(*) > 1 AND SUM(x) <> 0
{{ d.end('ratios') }}
{{ d.step('residuals') }}
  SELECT {{ of('v', ['metric', 'pass', 'unit', 'phase', 'arm', 'cells_of_unit']) }}, v.y - r.ratio * v.x AS residual
  FROM unit_values v JOIN ratios r ON r.metric = v.metric AND r.pass = v.pass AND r.phase = v.phase AND r.arm = v.arm
{{ d.end('residuals') }}
{%- if day_metrics %}
{% include "days" %}
{%- endif %}
{%- if segments %}
{% include "segments" %}
{%- endif %}
{%- if covariates %}
{% include "covariates" %}
{%- endif %}

-- Units in plain text that are in the log as digests as well.
{{ d.step('plain_units') }}
  SELECT unit, {{ d.digest(digest_prefix, 'unit') }} AS digest FROM units WHERE pass = 0 AND NOT {{ d.matches('unit', '^[0-9a-f]{32}$') }}
{{ d.end('plain_units') }}

-- The table.
{{ d.step('result') }}
  {{ row('summary', '', "'version'", n='1') }}
{{ or_all }}{{ row('summary', '', "'experiment'", items=quote(experiment)) }}
{{ or_all }}{{ row('summary', '', "'trial'", items=quote(trial)) }}
{%- if trial_asked %}{{ or_all }}{{ row('setting', '', "'trial'", items=quote(trial)) }}{% endif %}
{%- if since is not none %}{{ or_all }}{{ row('setting', '', "'since'", items=quote(since_text)) }}{% endif %}
{%- if until is not none %}{{ or_all }}{{ row('setting', '', "'until'", items=quote(until_text)) }}{% endif %}
{%- if attribution is not none %}{{ or_all }}{{ row('setting', '', "'attribution'", n=attribution) }}{% endif %}
{%- for cap in caps %}{{ or_all }}{{ row('setting', '', "'cap'", place=loop.index0, n=cap.ppm, items=quote(cap.metric)) }}{% endfor %}
{%- for item in not_checked %}{{ or_all }}{{ row('not_checked', '', place=loop.index0, items=quote(item)) }}{% endfor %}
{{ or_all }}{{ row('not_checked', 'FROM requests HAVING MIN(untold) < MAX(untold)', place='100', items="'untold_trials: the query does not draw the buckets of lines without a trial'") }}
{{ or_all }}{{ row('not_checked', "FROM judged WHERE why = 'malformed' HAVING COUNT(*) = 0", place='101', items="'damaged_lines: a table has no lines that could not be parsed; ask whatever filled it'") }}
{%- if outcomes and not outcomes.by_request %}
{{ or_all }}{{ row('refused', "FROM judged WHERE why = 'other_trial' HAVING COUNT(*) > 0", place='0', items="'the log has other trials, to which outcomes by unit may belong, and the query does not tell them apart; leave their time out with --since or --until, or use analyze run'") }}
{%- endif %}
{{ or_all }}{{ row('refused', 'FROM requests HAVING COUNT(*) > 0 AND COUNT(unit) = 0', place='1', items="'the log has no units, and the query compares units; set settings.exposure_unit to digest and log again, or use analyze run'") }}
{{ or_all }}{{ row('refused', 'FROM phases HAVING COUNT(*) > 64', place='2', items="'the log has more than 64 phases; leave a part of its time out with --since or --until, or use analyze run'") }}
{{ or_all }}{{ row('refused', 'FROM own_lines WHERE ' ~ d.part('weights', ',', parts + 1) ~ " <> '' HAVING COUNT(*) > 0", place='3', items="'lines name more candidates than the query reads; use analyze run'") }}
-- Lines by what became of them.
{{ or_all }}{{ row('lines', 'FROM parsed', "'read'", n='COUNT(*)') }}
{{ or_all }}{{ row('lines', 'FROM requests', "'used'", n='COUNT(*)') }}
{{ or_all }}{{ row('lines', 'FROM requests WHERE unit IS NOT NULL', "'with_unit'", n='COUNT(*)') }}
{{ or_all }}{{ row('lines', 'FROM requests WHERE untold = 1', "'without_trial'", n='COUNT(*)') }}
{{ or_all }}{{ row('lines', "FROM judged WHERE why = 'malformed'", "'malformed'", n='COUNT(*)') }}
{{ or_all }}{{ row('lines', "FROM judged WHERE why = 'malformed'", "'damaged'", n='COUNT(*)') }}
{{ or_all }}{{ row('lines_left_out', "FROM judged WHERE why NOT IN ('counts', 'malformed') GROUP BY why", 'why', n='COUNT(*)') }}
{{ or_all }}{{ row('lines_left_out', 'FROM parsed WHERE experiment IS NULL OR experiment <> ' ~ quote(experiment), "'other_experiment'", n='COUNT(*)') }}
{{ or_all }}{{ row('lines_left_out', 'FROM requests', "'repeated'", n='SUM(lines - 1)') }}
{{ or_all }}{{ row('other_experiment', 'FROM parsed WHERE experiment <> ' ~ quote(experiment) ~ ' GROUP BY experiment', 'experiment', n='COUNT(*)') }}
{{ or_all }}{{ row('plan', "FROM counted GROUP BY COALESCE(plan, '')", "COALESCE(plan, '')", n='COUNT(*)') }}
{{ or_all }}{{ row('other_trial', "FROM judged WHERE why = 'other_trial' GROUP BY COALESCE(trial, '')", "COALESCE(trial, '')", n='COUNT(*)') }}
{{ or_all }}{{ row('trial_span', "FROM judged WHERE why = 'other_trial' GROUP BY COALESCE(trial, '')", "COALESCE(trial, '') || ' first'", n='MIN(ms)') }}
{{ or_all }}{{ row('trial_span', "FROM judged WHERE why = 'other_trial' GROUP BY COALESCE(trial, '')", "COALESCE(trial, '') || ' last'", n='MAX(ms)') }}
{{ or_all }}{{ row('requests', 'FROM span', "'first'", n='begin_ms') }}
{{ or_all }}{{ row('requests', 'FROM span', "'last'", n='end_ms') }}
-- Phases and minutes.
{{ or_all }}{{ row('phase', 'FROM phases', "'weights'", place='phase', n='from_minute', items='weights') }}
{{ or_all }}{{ row('phase', 'FROM phases', "'rollout'", place='phase', n='to_minute', items='rollout') }}
{{ or_all }}{{ row('phase_span', 'FROM requests GROUP BY phase', phase='phase', items=d.text('MIN(ms)') ~ " || ':' || " ~ d.text('MAX(ms)')) }}
{{ or_all }}{{ row('active_minutes', 'FROM (SELECT DISTINCT phase, minute FROM requests) a GROUP BY phase, ' ~ d.div('minute', 1440), phase='phase', place=d.div('minute', 1440), items=d.list(d.text('minute'))) }}
{{ or_all }}{{ row('minutes', 'FROM (SELECT minute, arm, COUNT(*) AS requests, SUM(aborted) AS aborted, SUM(breaker) AS breaker FROM requests GROUP BY minute, arm) m GROUP BY arm, ' ~ d.div('minute', 1440), arm='arm', place=d.div('minute', 1440), items=d.list(d.text('minute') ~ " || ':' || " ~ d.text('requests') ~ " || ':' || " ~ d.text('aborted') ~ " || ':' || " ~ d.text('breaker'))) }}
{{ or_all }}{{ row('breaker', 'FROM requests WHERE arm <> ' ~ baseline, "'requests_of_candidates'", n='COUNT(*)') }}
{{ or_all }}{{ row('breaker', 'FROM closed HAVING COUNT(*) > 0', "'left_out'", n='1') }}
{{ or_all }}{{ row('breaker_minutes', 'FROM (SELECT minute, arm, SUM(breaker) AS breaker FROM requests GROUP BY minute, arm) m WHERE breaker > 0 GROUP BY arm, ' ~ d.div('minute', 1440), arm='arm', place=d.div('minute', 1440), items=d.list(d.text('minute') ~ " || ':' || " ~ d.text('breaker'))) }}
-- The same for pass 1.
{{ or_all }}{{ row('phase', 'FROM phases CROSS JOIN (SELECT COUNT(*) AS minutes FROM closed) k WHERE k.minutes > 0', "'weights'", pass='1', place='phase', n='from_minute', items='weights') }}
{{ or_all }}{{ row('phase', 'FROM phases CROSS JOIN (SELECT COUNT(*) AS minutes FROM closed) k WHERE k.minutes > 0', "'rollout'", pass='1', place='phase', n='to_minute', items='rollout') }}
-- Requests and units by phase and variant.
{{ or_all }}{{ row('requests', 'FROM passes GROUP BY pass, phase, arm', "'all'", 'pass', 'phase', 'arm', n='COUNT(*)') }}
{%- for name in ['failed', 'aborted', 'elsewhere'] %}
{{ or_all }}{{ row('requests', 'FROM passes GROUP BY pass, phase, arm', "'" ~ name ~ "'", 'pass', 'phase', 'arm', n='SUM(' ~ name ~ ')') }}
{%- endfor %}
{{ or_all }}{{ row('requests', 'FROM passes GROUP BY pass, phase, arm', "'rescued'", 'pass', 'phase', 'arm', n='SUM(elsewhere * failed)') }}
{{ or_all }}{{ row('latency_bins', 'FROM bins GROUP BY pass, phase, arm, bin', pass='pass', phase='phase', arm='arm', place='bin', items=d.list(d.text('grp') ~ " || ':' || " ~ d.text('n'))) }}
{{ or_all }}{{ row('units', 'FROM units GROUP BY pass HAVING COUNT(*) > 0', "'compared'", 'pass', n='1') }}
{{ or_all }}{{ row('units', 'FROM told WHERE place = 1 GROUP BY pass, phase, arm', "'first'", 'pass', 'phase', 'arm', n='COUNT(*)') }}
{{ or_all }}{{ row('units', 'FROM told WHERE place = cells_of_unit GROUP BY pass, arm', "'last'", 'pass', arm='arm', n='COUNT(*)') }}
{{ or_all }}{{ row('units', 'FROM told WHERE answered > 0 GROUP BY pass, phase, arm', "'answered'", 'pass', 'phase', 'arm', n='COUNT(*)') }}
{{ or_all }}{{ row('units', 'FROM told WHERE place = 1 GROUP BY pass, phase, arm', "'failing'", 'pass', 'phase', 'arm', n='SUM(CASE WHEN failed > 0 THEN 1 ELSE 0 END)') }}
{{ or_all }}{{ row('units', 'FROM told WHERE place = 1 GROUP BY pass, phase, arm', "'heavy'", 'pass', 'phase', 'arm', n='SUM(is_heavy)') }}
{{ or_all }}{{ row('units', 'FROM heavy WHERE above IS NOT NULL', "'heavy_above'", 'pass', n='above') }}
{{ or_all }}{{ row('units', 'FROM units GROUP BY pass', "'torn'", 'pass', n='SUM(torn)') }}
{{ or_all }}{{ row('units', 'FROM units GROUP BY pass', "'moved'", 'pass', n='SUM(moved)') }}
{{ or_all }}{{ row('units', 'FROM units GROUP BY pass', "'with_trial'", 'pass', n='SUM(1 - any_untold)') }}
{{ or_all }}{{ row('units', 'FROM units GROUP BY pass', "'without_trial'", 'pass', n='SUM(all_untold)') }}
{{ or_all }}{{ row('units', 'FROM units GROUP BY pass', "'with_both'", 'pass', n='SUM(any_untold - all_untold)') }}
{{ or_all }}{{ row('units', 'FROM plain_units', "'looked_up_as_digests'", n='COUNT(*)') }}
{{ or_all }}{{ row('units', 'FROM plain_units p JOIN units u ON u.unit = p.digest AND u.pass = 0', "'named_twice'", n='COUNT(*)') }}
{{ or_all }}{{ row('log_requests', 'FROM told WHERE place = 1 GROUP BY pass, phase, arm', pass='pass', phase='phase', arm='arm', n='COUNT(*)', s=['AVG(LN(requests))', '0', d.variance('LN(requests)') ~ ' * COUNT(*)']) }}
{{ or_all }}{{ pairs('client_errors', 'FROM (SELECT pass, phase, arm, ' ~ d.float('refused') ~ ' AS y, ' ~ d.float('requests') ~ ' AS x FROM told WHERE place = 1) t', 'pass, phase, arm', "''") }}
{{ or_all }}{{ pairs('client_errors_by_phase', 'FROM (SELECT pass, phase, arm, ' ~ d.float('refused') ~ ' AS y, ' ~ d.float('requests') ~ ' AS x FROM told) t', 'pass, phase, arm', "''") }}
{{ or_all }}{{ row('new_units', 'FROM told WHERE place = 1 GROUP BY pass, phase, arm, ' ~ d.div('first_ms', 86400000), pass='pass', phase='phase', arm='arm', place=d.div('first_ms', 86400000), n='COUNT(*)') }}
{{ or_all }}{{ row('requests_of_units', 'FROM told WHERE place = 1 GROUP BY pass, arm', "'units'", 'pass', arm='arm', n='COUNT(*)') }}
{{ or_all }}{{ row('requests_of_units', 'FROM told WHERE place = 1 GROUP BY pass, arm', "'requests'", 'pass', arm='arm', n='SUM(all_requests)') }}
{{ or_all }}{{ row('requests_of_units', 'FROM told WHERE place = 1 GROUP BY pass, arm', "'largest'", 'pass', arm='arm', n='MAX(all_requests)') }}
{{ or_all }}{{ row('requests_of_units', 'FROM told WHERE place = 1 AND is_heavy = 1 GROUP BY pass, arm', "'heavy'", 'pass', arm='arm', n='SUM(all_requests)') }}
{{ or_all }}{{ row('requests_of_units', 'FROM told WHERE place = 1 GROUP BY pass, arm', "'squares'", 'pass', arm='arm', s=['SUM(' ~ d.float('all_requests') ~ ' * all_requests)']) }}
{{ or_all }}{{ row('moment_units', 'FROM told CROSS JOIN span s WHERE place = 1 GROUP BY pass, phase, arm, ' ~ moment, pass='pass', phase='phase', arm='arm', place=moment, n='COUNT(*)') }}
{%- if drawn %}
{{ or_all }}{{ pairs('moment_values', 'FROM unit_values CROSS JOIN span s WHERE metric = ' ~ quote(drawn), 'pass, phase, arm, ' ~ moment, "''", place=moment) }}
{%- endif %}
-- Metrics.
{%- for measure in measures %}
{{ or_all }}{{ row('measure', 'FROM (SELECT DISTINCT pass FROM passes) p', quote(measure.name), 'pass', items=quote(measure.words)) if measure.always else row('measure', 'FROM passes GROUP BY pass HAVING SUM(aborted) > 0', quote(measure.name), 'pass', items=quote(measure.words)) }}
{%- endfor %}
{{ or_all }}{{ pairs('metric', 'FROM unit_values', 'metric, pass, phase, arm', 'metric') }}
{{ or_all }}{{ pairs('metric_without_heavy', 'FROM unit_values WHERE is_heavy = 0', 'metric, pass, phase, arm', 'metric') }}
{%- if large_metrics %}
{{ or_all }}{{ row('large_above', 'FROM large WHERE above IS NOT NULL', 'metric', 'pass', s=['above']) }}
{{ or_all }}{{ pairs('metric_without_large', 'FROM (SELECT v.metric AS metric, v.pass AS pass, v.phase AS phase, v.arm AS arm, v.y AS y, v.x AS x FROM unit_values v JOIN large l ON l.metric = v.metric AND l.pass = v.pass WHERE ABS(v.y) <= l.above) v', 'metric, pass, phase, arm', 'metric') }}
{%- endif %}
{%- if tails_metrics %}
{{ or_all }}{{ row('tails', 'FROM residuals WHERE metric IN (' ~ listed(tails_metrics) ~ ') GROUP BY metric, pass, phase, arm', 'metric', 'pass', 'phase', 'arm', n='COUNT(*)', s=['SUM(residual * residual)', 'SUM(residual * residual * residual)']) }}
{%- endif %}
{{ or_all }}{{ row('crossing', 'FROM (SELECT a.metric AS metric, a.pass AS pass, a.phase AS phase, a.arm AS arm, b.phase * ' ~ variants | length ~ ' + b.arm AS other, a.residual * b.residual AS product FROM (SELECT * FROM residuals WHERE cells_of_unit > 1) a JOIN (SELECT * FROM residuals WHERE cells_of_unit > 1) b ON b.metric = a.metric AND b.pass = a.pass AND b.unit = a.unit AND b.phase > a.phase) p GROUP BY metric, pass, phase, arm, other', 'metric', 'pass', 'phase', 'arm', place='other', s=['SUM(product)']) }}
{%- if day_metrics %}
{% include "days_rows" %}
{%- endif %}
{%- if segments %}
{% include "segments_rows" %}
{%- endif %}
{%- if covariates %}
{% include "covariates_rows" %}
{%- endif %}
{%- if caps %}
{{ or_all }}{{ row('cap_value', 'FROM caps', 'metric', 'pass', s=['cap']) }}
{{ or_all }}{{ row('capped_units', 'FROM unit_values WHERE whole > y GROUP BY metric, pass, phase, arm', 'metric', 'pass', 'phase', 'arm', n='COUNT(*)') }}
{{ or_all }}{{ pairs('metric_without_cap', 'FROM (SELECT v.metric AS metric, v.pass AS pass, v.phase AS phase, v.arm AS arm, v.whole AS y, v.x AS x FROM unit_values v JOIN caps c ON c.metric = v.metric AND c.pass = v.pass) v', 'metric, pass, phase, arm', 'metric') }}
{%- endif %}
{%- if attribution is not none and outcomes %}
{{ or_all }}{{ row('outcomes', 'FROM known CROSS JOIN (SELECT DISTINCT pass FROM passes) p', "'known_until'", 'pass', n='ms') }}
{{ or_all }}{{ row('outcomes', 'FROM (SELECT DISTINCT pass FROM passes) p', "'window'", 'pass', n=attribution) }}
{{ or_all }}{{ row('units', 'FROM told WHERE place = 1 AND is_open = 1 GROUP BY pass, phase, arm', "'open_window'", 'pass', 'phase', 'arm', n='COUNT(*)') }}
{{ or_all }}{{ row('units', 'FROM told WHERE is_open = 1 GROUP BY pass', "'last_window_ends'", 'pass', n='MAX(first_ms) + ' ~ attribution) }}
{%- endif %}
{%- if outcomes %}
-- Rows of the outcomes.
{{ or_all }}{{ row('outcomes', '', "'given'", n='1') }}
{%- for column in columns %}
{{ or_all }}{{ row('column', '', "'binary'", place=loop.index0, n=1 if column in outcomes.binary else 0, items=quote(outcomes.names[loop.index0])) }}
{{ or_all }}{{ row('sizes', 'FROM (SELECT arm, size, COUNT(*) AS n FROM (SELECT arm, ' ~ d.int('FLOOR(' ~ d.log2('ABS(c' ~ loop.index0 ~ ')') ~ ' * 16 + 1e-9)') ~ ' AS size FROM sized WHERE c' ~ loop.index0 ~ ' <> 0) z GROUP BY arm, size) y GROUP BY arm', quote(outcomes.names[loop.index0]), arm='arm', items=d.list(d.text('size') ~ " || ':' || " ~ d.text('n'))) }}
{%- if outcomes.by_request %}
{{ or_all }}{{ pairs('labels', 'FROM (SELECT pass, phase, arm, ' ~ d.float('served' ~ loop.index0) ~ ' AS y, ' ~ d.float('answered - failed') ~ ' AS x FROM told WHERE place = 1 AND is_open = 0) t', 'pass, phase, arm', quote(outcomes.names[loop.index0])) }}
{%- else %}
{{ or_all }}{{ pairs('labels', 'FROM (SELECT t.pass, MAX(CASE WHEN place = 1 THEN phase END) AS phase, MAX(CASE WHEN place = 1 THEN arm END) AS arm, ' ~ d.float('MAX(CASE WHEN count' ~ loop.index0 ~ ' > 0 THEN 1 ELSE 0 END)') ~ ' AS y, ' ~ d.float('1') ~ ' AS x FROM told t GROUP BY t.pass, t.unit HAVING MAX(CASE WHEN place = 1 THEN is_open END) = 0) t', 'pass, phase, arm', quote(outcomes.names[loop.index0])) }}
{%- endif %}
{%- endfor %}
{{ or_all }}{{ row('outcome_rows', 'FROM ' ~ outcomes.table, "'read'", n='COUNT(*)') }}
{%- if outcomes.by_request %}
{{ or_all }}{{ row('outcomes', '', "'by_request'", n='1') }}
{{ or_all }}{{ row('outcome_rows', 'FROM labels', "'rows'", n='COUNT(*)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM labels WHERE ' ~ same_rows(columns), "'repeated'", n='SUM(label_rows - 1)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM labels WHERE NOT (' ~ same_rows(columns) ~ ')', "'conflicting'", n='SUM(label_rows - 1)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM met', "'matched_by_request'", n='COUNT(*)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM met WHERE requests > 1', "'matched_by_several'", n='COUNT(*)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM met', "'requests_with_row'", n='SUM(requests)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM met WHERE requests > 1', "'requests_that_share'", n='SUM(requests)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM labels l LEFT JOIN lines_of_labels o ON o.request_id = l.request_id WHERE o.request_id IS NULL', "'about_no_line'", n='COUNT(*)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM lines_of_labels o LEFT JOIN met m ON m.request_id = o.request_id WHERE m.request_id IS NULL AND o.other_trial = 1', "'about_other_trials'", n='COUNT(*)') }}
{%- else %}
{{ or_all }}{{ row('outcomes', '', "'by_unit'", n='1') }}
{{ or_all }}{{ row('outcome_rows', 'FROM told_rows', "'rows'", n='COUNT(*)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM (SELECT (SELECT COUNT(*) FROM ' ~ outcomes.table ~ ') - (SELECT COUNT(*) FROM told_rows) AS n) c', "'repeated'", n='n') }}
{{ or_all }}{{ row('outcome_rows', 'FROM (SELECT (SELECT COUNT(*) FROM ' ~ outcomes.table ~ ') - (SELECT COUNT(*) FROM told_rows) AS n) c', "'timed_scattered'", n='n') }}
{{ or_all }}{{ row('outcome_rows', 'FROM (SELECT (SELECT COUNT(*) FROM known_rows WHERE is_before = 0) - (SELECT COUNT(*) FROM matched_rows) AS n) c', "'other_time'", n='n') }}
{{ or_all }}{{ row('outcome_rows', 'FROM (SELECT (SELECT COUNT(*) FROM placed WHERE pass = 0) + (SELECT COUNT(*) FROM known_rows WHERE is_before = 1 AND unit IS NOT NULL) AS n) c', "'matched'", n='n') }}
{{ or_all }}{{ row('outcome_rows', 'FROM (SELECT (SELECT COUNT(*) FROM matched_rows WHERE unit IS NULL) + (SELECT COUNT(*) FROM known_rows WHERE is_before = 1 AND unit IS NULL) AS n) c', "'unmatched'", n='n') }}
{{ or_all }}{{ row('outcome_rows', 'FROM matched_rows r JOIN cells c ON c.unit = r.unit AND c.pass = 0 AND c.place = 1 WHERE r.ms + 5000 < c.first_ms', "'early'", n='COUNT(*)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM matched_rows r JOIN cells c ON c.unit = r.unit AND c.pass = 0 AND c.place = 1 CROSS JOIN span s WHERE r.ms + 5000 < c.first_ms AND r.ms >= s.begin_ms AND r.ms + 600000 >= c.first_ms', "'shortly_before'", n='COUNT(*)') }}
{%- if outcomes.time %}
-- Rows around the first request of their unit, if the outcomes contain the 28 hours before it as well.
{%- set around = 'FROM (SELECT c.first_ms - r.ms AS before_ms FROM matched_rows r JOIN cells c ON c.unit = r.unit AND c.pass = 0 AND c.place = 1 CROSS JOIN (SELECT MIN(ms) AS known FROM told_rows) k WHERE r.ms IS NOT NULL AND ' ~ ('GREATEST(k.known, ' ~ since ~ ')' if since is not none else 'k.known') ~ ' + 100800000 <= c.first_ms) b WHERE ' %}
{{ or_all }}{{ row('outcome_rows', around ~ 'before_ms <= 5000', "'after_first'", n='COUNT(*)') }}
{{ or_all }}{{ row('outcome_rows', around ~ 'before_ms >= 600000 AND before_ms < 50400000', "'hours_before'", n='COUNT(*)') }}
{{ or_all }}{{ row('outcome_rows', around ~ 'before_ms >= 50400000 AND before_ms < 100800000', "'earlier'", n='COUNT(*)') }}
{%- set resolution = 'CASE WHEN MAX(' ~ d.mod('ms', 86400000) ~ ') = 0 THEN 86400000 WHEN MAX(' ~ d.mod('ms', 3600000) ~ ') = 0 THEN 3600000 END' %}
{{ or_all }}{{ row('outcome_rows', 'FROM told_rows WHERE ms IS NOT NULL HAVING COUNT(*) > 20', "'resolution'", n=resolution) }}
{{ or_all }}{{ row('outcome_rows', 'FROM matched_rows r JOIN cells c ON c.unit = r.unit AND c.pass = 0 AND c.place = 1 CROSS JOIN (SELECT ' ~ resolution ~ ' AS length FROM told_rows WHERE ms IS NOT NULL HAVING COUNT(*) > 20) k WHERE r.ms + 5000 < c.first_ms AND r.ms + k.length > c.first_ms', "'rounded'", n='COUNT(*)') }}
{%- endif %}
{{ or_all }}{{ row('outcome_rows', 'FROM named_rows WHERE ms IS NOT NULL AND is_before = 0 HAVING COUNT(*) > 0', "'timed'", n='1') }}
{{ or_all }}{{ row('outcome_minutes', 'FROM (SELECT ' ~ d.div('ms', 60000) ~ ' AS minute, arm, COUNT(*) AS n FROM placed WHERE pass = 0 AND ms IS NOT NULL GROUP BY ' ~ d.div('ms', 60000) ~ ', arm) m GROUP BY arm, ' ~ d.div('minute', 1440), arm='arm', place=d.div('minute', 1440), items=d.list(d.text('minute') ~ " || ':' || " ~ d.text('n'))) }}
{%- if attribution is not none %}
{{ or_all }}{{ row('outcome_rows', 'FROM placed WHERE pass = 0 AND ms >= first_ms + ' ~ attribution, "'late'", n='COUNT(*)') }}
{{ or_all }}{{ row('outcome_rows', 'FROM placed WHERE pass = 0 AND ms IS NULL', "'untimed'", n='COUNT(*)') }}
{%- endif %}
{%- endif %}
{%- endif %}
{{ d.last() }}
SELECT kind, pass, phase, CASE arm{% for name in variants %} WHEN {{ loop.index0 }} THEN {{ quote(name) }}{% endfor %} END AS variant, name, place, n, s1, s2, s3, s4, s5, s6, s7, items
FROM result
WHERE n IS NOT NULL OR s1 IS NOT NULL OR items IS NOT NULL
