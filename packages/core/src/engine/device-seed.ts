/** The seed of this device's long-term identity, in this origin's IndexedDB. Only the worker reads it. */

const seedBytes = 32;
const databaseName = "satsuma";
const storeName = "device";
const key = "identity-seed";

export function temporaryDeviceSeed(): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(seedBytes));
}

/** Falls back to a temporary one where storage is forbidden (private windows of some browsers). */
export async function persistentDeviceSeed(): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const database = await openDatabase();
    try {
      return await readOrAdd(database);
    } finally {
      database.close();
    }
  } catch {
    return temporaryDeviceSeed();
  }
}

function openDatabase(): Promise<IDBDatabase> {
  const request = indexedDB.open(databaseName, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(storeName);
  return settled(request);
}

// In one transaction, so that two pages opened at once do not make two identities.
async function readOrAdd(database: IDBDatabase): Promise<Uint8Array<ArrayBuffer>> {
  const store = database.transaction(storeName, "readwrite").objectStore(storeName);
  const found: unknown = await settled<unknown>(store.get(key));
  if (found instanceof Uint8Array && found.length === seedBytes) return new Uint8Array(found);
  const seed = temporaryDeviceSeed();
  await settled(store.put(seed, key));
  return seed;
}

function settled<Value>(request: IDBRequest<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error ?? new Error("storage failed"));
  });
}
