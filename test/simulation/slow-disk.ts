import type { Files, KeyValue } from '../../src/disk/index.ts'

/** Does what is asked when the disk has come to it. */
export type Slow = <T>(work: () => Promise<T>) => Promise<T>

export function slowFiles (files: Files, slow: Slow): Files {
  return { ...files, writeDurable: async (path, parts, options) => slow(async () => files.writeDurable(path, parts, options)), remove: async (path) => slow(async () => files.remove(path)), syncFolder: async (path) => slow(async () => files.syncFolder(path)) }
}

export function slowKeyValue (index: KeyValue, slow: Slow): KeyValue {
  return { get failure () { return index.failure }, get: async (key) => index.get(key), getMany: async (keys) => index.getMany(keys), entries: (range) => index.entries(range), keys: (range) => index.keys(range), [Symbol.asyncDispose]: async () => {}, batch: async (changes, options) => slow(async () => index.batch(changes, options)) }
}
