// All scenarios, one after the other: two cores carry one meeting at a time.
await import('./scenarios/meeting.mjs');
await import('./scenarios/access.mjs');
await import('./scenarios/trouble.mjs');
await import('./scenarios/codecs.mjs');
await import('./scenarios/suites.mjs');
await import('./scenarios/weather.mjs');
await import('./scenarios/secrecy.mjs');
await import('./scenarios/standalone.mjs');
await import('./scenarios/native.mjs');
