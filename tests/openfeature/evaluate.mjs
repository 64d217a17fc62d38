// Evaluates experiments with OpenFeature's SDKs for JavaScript: node evaluate.mjs URL USERS; prints JSON.
//
// The server's SDK asks for each user, the browser's SDK for all experiments of one user, and again after a while.
import { OpenFeature } from '@openfeature/server-sdk';
import { OFREPProvider } from '@openfeature/ofrep-provider';
import { OpenFeature as Web } from '@openfeature/web-sdk';
import { OFREPWebProvider } from '@openfeature/ofrep-web-provider';

const [url, users] = process.argv.slice(2);
const quiet = { error() {}, warn() {}, info() {}, debug() {} };

await OpenFeature.setProviderAndWait(new OFREPProvider({ baseUrl: url }));
const client = OpenFeature.getClient().setLogger(quiet);
const details = (found) => ({
  value: found.value,
  variant: found.variant ?? null,
  reason: found.reason ?? null,
  error: found.errorCode ?? null,
  trial: found.flagMetadata.trial ?? null,
});
const ask = async (flag, targetingKey) =>
  details(await client.getStringDetails(flag, 'default', { targetingKey, country: 'de' }));

const result = { users: [] };
for (let number = 0; number < Number(users); number += 1) {
  result.users.push((await ask('forecast', `user-${number}`)).value);
}
result.one = await ask('forecast', 'user-1');
result.off = await ask('off', 'user-1');
result.unknown = await ask('none', 'user-1');
result.no_key = await ask('forecast', undefined);
result.long_key = await ask('forecast', 'u'.repeat(600));
result.type = details(await client.getBooleanDetails('forecast', true, { targetingKey: 'user-1' }));

// What the browser's SDK sends and gets.
const exchanges = [];
const fetchImplementation = async (request, options) => {
  const headers = new Headers(options?.headers ?? request.headers);
  const response = await fetch(request, options);
  exchanges.push({ tag: headers.get('if-none-match'), status: response.status });
  return response;
};
Web.setLogger(quiet);
await Web.setContext({ targetingKey: 'user-1' });
const provider = new OFREPWebProvider({ baseUrl: url, pollInterval: 100, fetchImplementation });
await Web.setProviderAndWait(provider);
const end = Date.now() + 20000;
while (exchanges.length < 2 && Date.now() < end) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
const web = Web.getClient();
result.bulk = {
  one: details(web.getStringDetails('forecast', 'default')),
  off: details(web.getStringDetails('off', 'default')),
  unknown: details(web.getStringDetails('none', 'default')),
};
await Web.setContext({ targetingKey: 'user-2' });
result.bulk.other = details(web.getStringDetails('forecast', 'default'));
await Web.close();
result.exchanges = exchanges;
console.log(JSON.stringify(result));
process.exit(0);
