// The dashboards that `sidetrack render grafana` may write, in the words of Grafana's own types: the classic model, with the
// options of the panels that it uses. Grafana itself leaves those open. dashboard.schema.json is made from this file:
//
//   npm install @grafana/schema@13.2.3 ts-json-schema-generator@2 typescript@5.9
//   npx ts-json-schema-generator --path dashboard.ts --type Dashboard --no-type-check -o dashboard.schema.json
//
// and relieved of descriptions. The query is written out here, since the package has none for Prometheus.
import type * as G from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type * as TimeSeries from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';
import type * as Stat from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type * as States from '@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';
import type * as Table from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';

interface Query {
  refId: string; datasource: G.DataSourceRef; expr: string; legendFormat: string;
  editorMode: 'code' | 'builder'; range: boolean; instant: boolean; format: 'time_series' | 'table' | 'heatmap';
}
interface Of<T extends string, O, C> extends Omit<G.Panel, 'type' | 'options' | 'fieldConfig' | 'targets'> {
  type: T; title: string; gridPos: G.GridPos; options: Partial<O>; targets: Query[];
  fieldConfig: {
    defaults: Omit<G.FieldConfig, 'custom'> & { custom?: Partial<C> };
    overrides: Array<{ matcher: G.MatcherConfig; properties: Array<{ id: string; value: unknown }> }>;
  };
}
interface Annotation extends Omit<G.AnnotationQuery, 'target'> {
  target: { refId: string; expr: string }; titleFormat?: string; textFormat?: string; tagKeys?: string; useValueForTime?: boolean;
}
export interface Dashboard extends Omit<G.Dashboard, 'panels' | 'annotations' | 'schemaVersion'> {
  schemaVersion: 42;
  annotations: { list: Annotation[] };
  panels: Array<G.RowPanel | Of<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig> | Of<'stat', Stat.Options, {}>
    | Of<'state-timeline', States.Options, States.FieldConfig> | Of<'table', Table.Options, Table.FieldConfig>>;
}
