// The page for those who have no mouse, a narrow screen, or a broken link.
import assert from 'node:assert/strict';
import { scenario } from '../lib/world.mjs';
import { eventually } from '../lib/person.mjs';

const focusedName = (person) => person.evaluate(() => {
  const element = document.activeElement;
  return element?.getAttribute('aria-label') ?? element?.textContent?.trim() ?? '';
});

/** With the Tab key alone, as often as it takes. */
async function tabTo(person, name) {
  for (let presses = 0; presses < 40; ++presses) {
    if ((await focusedName(person)).startsWith(name)) return;
    await person.call('press', 'Tab');
  }
  assert.fail(`the Tab key never came to "${name}"`);
}

scenario('everything works from the keyboard', async (world) => {
  const server = await world.server();
  const ada = await world.person('Ada', 'chrome');
  await ada.open(new URL('/', server.link().url).href);
  await ada.has('New room', 'button', 15_000);
  await tabTo(ada, 'New room');
  await ada.call('press', 'Enter');
  await eventually('the name field has the focus', () => ada.evaluate(() => document.activeElement instanceof HTMLInputElement));
  for (const key of ['A', 'd', 'a', 'Enter']) await ada.call('press', key);
  await eventually('Ada is in the room', () => ada.has('Leave'));
  assert.ok(await ada.evaluate(() => /^\/r\/[a-z0-9-]+$/.test(location.pathname) && location.hash.length === 23), 'a link with a secret');
  await tabTo(ada, 'Mute microphone');
  await ada.call('press', 'Space');
  await eventually('the microphone is off', () => ada.has('Unmute microphone'));
  await tabTo(ada, 'Turn off camera');
  await ada.call('press', 'Enter');
  await eventually('the camera is off', () => ada.has('Turn on camera'));
  await eventually('Ada is alone in the group', () => ada.evaluate(() => document.querySelector('.safety-button') !== null), 30_000);
  await tabTo(ada, 'Safety number');
  await ada.call('press', 'Enter');
  await eventually('the panel explains the number', () => ada.has('Safety number', 'dialog'));
  await ada.call('press', 'Escape');
  await eventually('the panel is closed', async () => !(await ada.has('Safety number', 'dialog')));
  await ada.call('press', '?');
  await eventually('the keys are listed', () => ada.has('Keys', 'dialog'));
  await ada.call('press', 'Escape');
  await eventually('the list is closed', async () => !(await ada.has('Keys', 'dialog')));
  // What is being written outlives the chat's panel, and the keyboard is back where it opened it.
  await tabTo(ada, 'Chat');
  await ada.call('press', 'Enter');
  const draft = () => ada.evaluate(() => (document.activeElement instanceof HTMLTextAreaElement ? document.activeElement.value : null));
  await eventually('one can write at once', async () => (await draft()) === '');
  for (const key of ['H', 'i']) await ada.call('press', key);
  await ada.call('press', 'Escape');
  await eventually('the button of the chat has the focus', async () => (await focusedName(ada)) === 'Chat');
  await ada.call('press', 'Enter');
  await eventually('the draft is there', async () => (await draft()) === 'Hi');
  await ada.call('press', 'Escape');
  await tabTo(ada, 'Leave');
  await ada.call('press', 'Enter');
  await eventually('Ada has left', () => ada.has('Return to the room'));

  // "Back" leaves as well.
  await ada.call('press', 'Enter');
  await ada.join();
  await ada.evaluate(() => history.back());
  await eventually('the first page is back', () => ada.has('New room'));
  await eventually('nothing is connected any more', () => ada.evaluate(() => window.e2e.connections.length > 0 && window.e2e.connections.every(({ connectionState }) => connectionState === 'closed')));
});

scenario("a phone's width shows everybody and every control", async (world) => {
  const server = await world.server();
  const link = server.link();
  const ada = await world.person('Ada', 'chrome');
  const bo = await world.person('Bo', 'chrome');
  await ada.open(link.url);
  await ada.call('viewport', 390, 844, true);
  await ada.join();
  await bo.enter(link.url);
  await ada.seesAndHears(1);
  for (const width of [390, 360]) {
    await ada.call('viewport', width, 740, true);
    const outside = await ada.evaluate(() => [...document.querySelectorAll('button, figure')].filter((element) => {
      const box = element.getBoundingClientRect();
      return box.width < 40 || box.height < 40 || box.left < 0 || box.top < 0 || box.right > innerWidth || box.bottom > innerHeight;
    }).map((element) => element.getAttribute('aria-label')));
    assert.deepEqual(outside, [], `${width} wide`);
    assert.ok(await ada.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing to scroll sideways');
  }
});

scenario('a link that lacks its key, or whose key is damaged, is explained', async (world) => {
  const server = await world.server();
  const link = server.link();
  const ada = await world.person('Ada', 'firefox');
  await ada.open(link.withoutSecret);
  await eventually('the page says that the key is missing', () => ada.has('This link lacks its key', 'heading'));
  await ada.open(`${link.withoutSecret}#abc`);
  await ada.call('reload');
  await eventually('the page says that the key is damaged', () => ada.has('The key in this link is damaged', 'heading'));
  await ada.open(new URL('/elsewhere', link.url).href);
  assert.ok(!(await ada.has('Join')));
});
