/**
 * Many callers, one read. A caller that arrives while a read is under way shares the next one, not that one: a read that began before the caller came may
 * have missed what the caller must see. So under load a burst costs two reads, and alone a call costs its own.
 */
export function sharedReads<T> (read: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const under = new Map<string, { current: Promise<T>, next: Promise<T> | undefined }>()

  const begin = (key: string): Promise<T> => {
    const current = read(key)
    under.set(key, { current, next: undefined })
    const finish = (): void => { if (under.get(key)?.current === current && under.get(key)?.next === undefined) under.delete(key) }
    current.then(finish, finish)
    return current
  }

  return (key) => {
    const entry = under.get(key)
    if (entry === undefined) return begin(key)
    // the queued read begins when the running one is over, whichever way it ended
    entry.next ??= entry.current.then(() => begin(key), () => begin(key))
    return entry.next
  }
}
