import { partitionOf } from '../../src/base/bytes.ts'
import { keyOf } from '../../src/base/peer-id.ts'
import { assigned, changed, changing, encodeLayout, type Layout, parseMemberRow, replicasOf } from '../../src/cluster/index.ts'
import { clusterAddress, layoutAddress } from '../../src/node/membership/membership.ts'
import { type RowAddress, tables } from '../../src/tables/index.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { logViolations } from './append-log.ts'
import { addressOf, carryOut, type Recorded, untilJoined } from './layout-run.ts'
import { memberOf, type Process, type TableMessage, World, type WorldVariant, type WorldWeather } from './world.ts'

/**
 * What goes wrong with a change of the layout without a rule, told step by step: bad weather comes upon these too, but in one run of a hundred or a thousand, and
 * any change of the product's timing moves them; told, they happen in every run. Ann, bob and carol hold everything, and dave, eve and frank follow them, unless
 * it says otherwise. What is held back never arrives unless it is released.
 */
export const layoutHistories = {
  'it is taken over from one of the old ones, not from a majority': async ({ world, old, fresh, appendAll, move, settled, ends }) => {
    // carol misses what the others decide, and those who follow ask her too
    world.cut(between(['carol'], ['ann', 'bob']))
    await appendAll('ann')
    await move({ from: old, to: fresh })
    await settled(fresh)
    await ends(old)
  },

  'a change is finished before all have said that they took over': async ({ world, old, fresh, appendAll, move, changing, settled, pause, ends }) => {
    await appendAll('ann')
    // those who follow hear late of what there is
    world.questions.hold(({ from, kind }) => fresh.includes(from) && kind === 'ballots')
    await move({ from: old, to: fresh })
    await changing()
    await pause(3_000)
    world.questions.hold(undefined)
    await settled(fresh)
    await ends(old)
  },

  'who stays among fewer takes nothing over': async ({ world, old, fresh, used, layoutOf, does, move, settled, ends }) => {
    const five = [...old, ...fresh.slice(0, 2)]
    const gone = five.at(-1) as string
    await move({ from: [], to: five.slice(old.length) })
    await settled(five)
    // of five who decide three stay, and two of these hear nothing of what is decided before
    const layout = layoutOf('ann')
    const { next } = changing(layout, layout.members.filter(({ peerId }) => peerId !== world.peerOf(gone)))
    const [knows = '', ...others] = five.filter((name) => next !== undefined && replicasOf(next, used(0)).includes(world.peerOf(name)))
    if (others.length !== 2) world.violations.push('not three of five stay: nothing is tried')
    world.questions.hold(({ to, kind, isClear }) => !isClear && others.includes(to) && ['prepare', 'accept', 'handOver'].includes(kind))
    await does(knows, 'late')
    await move({ from: [gone], to: [] })
    await settled(five.filter((name) => name !== gone))
    world.questions.hold(undefined)
    await ends([gone, knows])
    await does(others[0] ?? '', undefined)
  },

  'who stays alone of two takes nothing over': async ({ world, does, move, settled, ends }) => {
    // of three two have heard of it, of these two one, and it is the other that is left
    world.questions.hold(({ to, kind, isClear }) => !isClear && to === 'bob' && ['prepare', 'accept', 'handOver'].includes(kind))
    await does('ann', 'late')
    await move({ from: ['carol'], to: [] })
    await settled(['ann', 'bob'])
    await move({ from: ['ann'], to: [] })
    await settled(['bob'])
    world.questions.hold(undefined)
    await ends(['ann', 'carol'])
    await does('bob', undefined)
  },

  'who stays among fewer forgets, and nobody waits for it': async ({ world, old, used, does, move, changing, settled, restart, layoutOf, pause, ends }) => {
    const [goes = '', forgets = '', misses = ''] = old
    world.questions.hold(({ to, kind, isClear }) => !isClear && to === misses && ['prepare', 'accept', 'handOver'].includes(kind))
    await does(goes, 'late')
    await move({ from: [goes], to: [] })
    const by = await changing()
    world.isFrozen = true
    for (const name of old) await world.process(name)?.state.adoptLayout(encodeLayout(layoutOf(by)), { isChosen: true })
    world.rot(forgets, used(0))
    await restart(forgets, () => {})
    await pause(300)
    world.isFrozen = false
    await settled([forgets, misses])
    await ends([goes])
    world.questions.hold(undefined)
    await does(misses, undefined)
  },

  'what was promised is not taken over with the rows': async ({ world, does, move, until, settledWith, pause, ends }) => {
    const { begin, isMade } = halfMade(world, { by: 'carol', asked: ['ann'], isOfCluster: false })
    await busy(does, 'carol')
    await does('ann', 'before')
    begin()
    void does('carol', 'half')
    await until('carol alone has accepted it', isMade)
    await ends(['carol'])
    // ann alone knows of it, and goes; who follows decides with bob, who has proposed little
    await move({ from: ['ann'], to: ['dave'] })
    await settledWith(['bob', 'dave'])
    await ends(['ann'])
    world.questions.hold(undefined)
    await does('bob', 'after')
    await world.start('carol')
    await pause(3_000)
    for (const name of ['bob', 'dave', 'carol']) await does(name, undefined)
  },

  'what was promised of the cluster itself is not taken over': async ({ world, does, move, until, settledWith, pause, ends }) => {
    const { begin, isMade } = halfMade(world, { by: 'carol', asked: ['ann'], isOfCluster: true })
    const drained = async (name: string): Promise<boolean> => {
      const value = await world.registersOf(name)?.read(clusterAddress(tables.members, keyOf(world.peerOf('frank'))))
      return value !== undefined && parseMemberRow(value).isDraining === true
    }
    await busy(does, 'carol')
    await world.start('frank')
    await untilJoined(world, 'frank', 'ann')
    world.isFrozen = true
    begin()
    void world.drain('frank', true, 'carol').catch(() => {}) // it dies of it
    await until('carol alone has accepted it', isMade)
    await ends(['carol'])
    await move({ from: ['ann'], to: ['dave'] })
    await settledWith(['bob', 'dave', 'frank'])
    world.isFrozen = true
    await ends(['ann'])
    world.questions.hold(undefined)
    await world.drain('frank', true, 'bob')
    await world.drain('frank', false, 'bob')
    await world.start('carol')
    await pause(3_000)
    for (const name of ['bob', 'dave', 'carol']) if (await drained(name)) world.violations.push(`${name}: what was done to a member is undone`)
    world.isFrozen = false
  },

  'who has lost rows forgets what it had promised': async ({ world, old, does, move, settled, until, used, layoutOf, restart, pause, ends }) => {
    const five = [...old, 'dave', 'eve']
    await move({ from: [], to: ['dave', 'eve'] })
    await settled(five)
    const { begin, isMade } = halfMade(world, { by: 'carol', asked: ['ann', 'bob'], isOfCluster: false })
    await busy(does, 'carol')
    await does('ann', 'before')
    begin()
    void does('carol', 'half')
    await until('carol alone has accepted it', isMade)
    await ends(['carol'])
    const { version } = layoutOf('ann')
    world.rot('bob', used(0))
    await restart('bob', () => {})
    await until('bob has it back', () => world.process('bob')?.store.lostPartitions().size === 0 && layoutOf('bob').state === 'settled' && layoutOf('bob').version > version)
    // of those who have promised it one is not asked, and the other has forgotten everything
    world.questions.hold(({ to, isClear }) => !isClear && to === 'ann')
    await does('dave', 'after')
    world.questions.hold(undefined)
    await ends(['ann'])
    await world.start('carol')
    await pause(3_000)
    for (const name of ['bob', 'dave', 'carol']) await does(name, undefined)
  },

  'what is lost while it is taken over is waited for': async ({ world, old, fresh, used, appendAll, move, changing, settled, restart, until, rowsAt, ends }) => {
    const [dave = ''] = fresh
    await appendAll('ann')
    world.mayFinish = false
    await move({ from: ['carol'], to: [dave] })
    await changing()
    await until('dave has taken it over', () => rowsAt(dave) > 0)
    world.rot(dave, used(0))
    await restart(dave, () => {})
    world.mayFinish = true
    await settled([...old.slice(0, 2), dave])
    await ends(['carol', 'ann'])
  },

  'old and new decide as one group while the layout changes': proposerAloneWithNew,
  'the new ones alone decide while the layout changes': proposerAloneWithNew,

  'the old ones alone decide while the layout changes': async ({ world, old, fresh, move, changing, does, settled, pause, ends }) => {
    await move({ from: old, to: fresh })
    await changing()
    world.isFrozen = true
    await pause(3_000)
    // taken over is what there was; what comes now reaches none of those who follow
    world.questions.hold((message) => fresh.includes(message.to) && (message.kind === 'accept' || message.kind === 'handOver'))
    await does('ann', 'late')
    world.isFrozen = false
    await pause(1_000)
    world.questions.hold((message) => message.kind === 'handOver')
    await settled(fresh)
    await ends(old)
  },

  'whoever enters keeps what it had from an earlier time': async ({ old, fresh, move, appendAll, eraseAll, readAll, settled, pause, buried }) => {
    const [dave = ''] = fresh
    await move({ from: [], to: [dave] })
    await settled([...old, dave])
    await appendAll('ann')
    await pause(3_000)
    await move({ from: [dave], to: [] })
    await settled(old)
    await eraseAll('ann')
    await buried(old)
    await move({ from: [], to: [dave] })
    await settled([...old, dave])
    await readAll(dave)
    await readAll('ann')
  },

  'what is to be forgotten is still answered for': async ({ world, old, fresh, appendAll, eraseAll, readAll, move, does, layoutOf, proposes, settled, pause, buried, until }) => {
    const [dave = ''] = fresh
    await move({ from: [], to: [dave] })
    await settled([...old, dave])
    await appendAll(dave)
    await pause(3_000)
    // dave is away, left out, and misses that the rows are deleted
    world.cut(between([dave], old))
    await settled(old)
    await eraseAll('ann')
    await buried(old)
    world.isFrozen = true
    const layout = layoutOf('ann')
    await proposes('ann', changing(layout, [...layout.members, memberOf(dave)]))
    // hears of all that at once, and while its disk forgets, a client of it comes to the same rows
    const back = world.process(dave)
    world.disk(dave).rowsHang = true
    const adopted = back?.state.adoptLayout(encodeLayout(layoutOf('ann')), { isChosen: true })
    await pause(50)
    world.questions.hold(({ from, to }) => from !== dave && to === dave)
    world.cut([])
    await until('dave finds the others', () => (back?.reachable.size ?? 0) >= 2)
    const asked = Promise.all(keys.map(async (_, i) => does(dave, 'late', i)))
    await pause(500)
    world.disk(dave).rowsHang = false
    await adopted
    await asked
    world.questions.hold(undefined)
    world.isFrozen = false
    await settled([...old, dave])
    await pause(1_000)
    await readAll(dave)
    await readAll('ann')
  },

  'the floor is not taken over with the rows': async ({ world, old, fresh, appendAll, eraseAll, readAll, buried, move, settled, pause, layoutOf }) => {
    const [dave = ''] = fresh
    // bob has something for carol, whom it does not reach, and a fault: it keeps that whatever becomes of the layout
    world.cut(between(['bob'], ['carol']))
    await pause(1_000)
    await appendAll('bob')
    const late = [...world.disk('bob').rows.rows.values()].filter(({ table }) => table === tables.accessKeys)
    await move({ from: ['carol'], to: [dave] })
    await settled(['ann', 'bob', dave])
    await eraseAll('ann')
    await buried(['ann', 'bob', dave])
    await move({ from: [dave], to: ['carol'] })
    await settled(old)
    // and delivers it when everybody has been told that it is gone
    world.cut([])
    await pause(1_000)
    const { version } = layoutOf('bob')
    for (const { table, rowKey, accepted } of late) if (accepted !== undefined) await world.process('bob')?.engine.peers.ask(world.peerOf('carol'), { version, kind: 'handOver', table, rowKey, record: accepted }, {})
    if (late.length === 0) world.violations.push('nothing was late: nothing is tried')
    await readAll('carol')
  },

  'what is late outlasts a change of the layout': async ({ world, old, fresh, appendAll, eraseAll, readAll, buried, move, settled, pause, until, layoutOf }) => {
    const [dave = ''] = fresh
    // bob has something for carol, whom it does not reach
    world.cut(between(['bob'], ['carol']))
    await pause(1_000)
    await appendAll('bob')
    await move({ from: ['carol'], to: [dave] })
    await settled(['ann', 'bob', dave])
    await eraseAll('ann')
    await buried(['ann', 'bob', dave])
    // and reaches her when everybody has been told that it is gone, but she, who comes back, has not asked anybody else yet
    world.onLayout = (layout) => { if (layout.state === 'changing') world.cut(between(['ann', dave], ['carol'])) }
    await move({ from: [dave], to: ['carol'] })
    await until('the layout changes', () => layoutOf('ann').state === 'changing')
    // she hears of it at once: much later, and she would be taken for one that does not come
    await world.process('carol')?.state.adoptLayout(encodeLayout(layoutOf('ann')), { isChosen: true })
    await pause(1_000)
    world.cut([])
    await settled(old)
    await readAll('carol')
  },

  'voters take any layout': async ({ world, old, fresh, appendAll, readAll, layoutOf, proposes, pause, settled }) => {
    await appendAll('ann')
    world.isFrozen = true
    for (const name of fresh) { await world.start(name); await untilJoined(world, name, 'ann') }
    // a node with a fault has those who follow decide alone, before they have taken anything over
    const layout = layoutOf('ann')
    const { version } = layout
    await proposes('ann', { ...changed(changing(layout, fresh.map(memberOf))), version: version + 1n })
    await pause(5_000)
    await readAll(fresh[0] ?? '')
    world.isFrozen = false
    await settled(layoutOf('ann').version === version + 1n ? fresh : [...old, ...fresh])
  },

  'while a layout changes voters take another in the place of the present one': async ({ world, old, fresh, appendAll, readAll, move, changing, layoutOf, proposes, pause, settled, ends }) => {
    await appendAll('ann')
    const isHandOver = ({ from, to, kind, isClear }: TableMessage): boolean => !isClear && ((kind === 'ballots' && fresh.includes(from)) || (kind === 'handOver' && fresh.includes(to)))
    world.questions.hold(isHandOver)
    await move({ from: old, to: fresh })
    const by = await changing()
    world.isFrozen = true
    await pause(2_000)
    // as if those who are to follow had been there before
    const layout = layoutOf(by)
    const { version, next, algorithm } = layout
    if (next === undefined) world.violations.push('it has been taken over too soon: nothing is tried')
    else await proposes(by, { ...layout, ...next, version: version + 1n, next: assigned(next, next.members, algorithm) })
    await pause(8_000)
    world.questions.hold(undefined)
    await readAll(fresh[0] ?? '')
    world.isFrozen = false
    await settled(fresh)
    await ends(old)
  },

  'a question names the version of the moment, not of its round': async ({ world, old, fresh, last, move, does, pause, settled, ends }) => {
    // nothing of its own is taken over from the last of the old ones
    world.cut(between([last], fresh))
    let isOver = false
    world.mayFinish = false
    await move({ from: old, to: fresh })
    world.questions.hold(({ from, to, kind, isClear }) => !isClear && from === last && kind === 'accept' && old.includes(to))
    world.onLayout = (layout) => { if (layout.state === 'changing') isOver = true }
    // one of these was prepared before, and is accepted after
    for (let i = 0; !isOver && i < 200; i++) { void does(last, `a${i}`, i % keys.length); await pause(300) }
    await pause(1_000)
    world.questions.hold((message) => message.kind === 'handOver')
    world.questions.release(({ kind }) => kind === 'accept')
    await pause(1_500)
    await ends([last])
    world.mayFinish = true
    await settled(fresh)
    await ends(old)
  },

  'the layout is not on disk before it is gone by': async ({ world, old, fresh, move, changing, does, pause, settled, ends, restart }) => {
    world.cut(between(['carol'], [...old, ...fresh]))
    await move({ from: old, to: fresh })
    await changing()
    world.isFrozen = true
    await pause(10_000)
    // bob, who has told those who follow what he has, forgets that they do
    await restart('bob', () => { world.cut(between(['bob', 'carol'], ['ann', ...fresh])) })
    await pause(1_000)
    await does('carol', 'late', early)
    world.questions.hold((message) => message.kind === 'handOver')
    // who has written meets nobody who follows: what is late is delivered to those
    world.cut(between(['carol'], [...old, ...fresh]))
    world.isFrozen = false
    await settled(fresh)
    await ends(old)
  },

  'what was lost comes back under the version of now': async ({ world, old, fresh, used, votersOf, move, settled, does, until, pause, restart }) => {
    const [dave = ''] = fresh
    await move({ from: [], to: [dave] })
    await settled([...old, dave])
    await does('ann', 'before')
    await pause(500)
    world.isFrozen = true
    const [writer = '', forgets = '', other = ''] = votersOf(0)
    const outsider = [...old, dave].find((name) => !votersOf(0).includes(name)) ?? ''
    const isOf = (name: string, kind: TableMessage['kind'], to?: string) => (message: TableMessage): boolean => !message.isClear && message.from === name && message.kind === kind && (to === undefined || message.to === to)
    // one has promised to both writers, to the second more than to the first; nobody else has heard of both
    const ofWriter = (message: TableMessage): boolean => isOf(writer, 'accept')(message) || isOf(writer, 'prepare', other)(message)
    world.questions.hold(ofWriter)
    const appended = [does(writer, 'a')]
    await until('the first has the promise of a majority', () => world.questions.count(isOf(writer, 'accept', forgets)) > 0)
    world.questions.hold((message) => ofWriter(message) || isOf(outsider, 'accept')(message) || isOf(outsider, 'prepare', writer)(message))
    appended.push(does(outsider, 'b'))
    await until('the second has the promise of a majority', () => world.questions.count(isOf(outsider, 'accept', forgets)) > 0)
    world.rot(forgets, used(0))
    await restart(forgets, () => {})
    await pause(500)
    world.questions.release(isOf(writer, 'accept', forgets))
    await pause(100)
    world.questions.release((message) => isOf(outsider, 'accept')(message) && message.to !== writer)
    await Promise.all(appended)
    world.isFrozen = false
  },

  'what was begun under a version goes on under the next': async ({ world, old, fresh, does, move, changing, until, pause, settled, ends }) => {
    // of all only who proposes the change knows of it
    const unaware = (by: string): readonly string[] => old.filter((name) => name !== by)
    world.onLayout = (layout, by) => { if (layout.state === 'changing') world.cut([...between([by], [...old, ...fresh]), ...between(unaware(by), fresh)]) }
    await move({ from: old, to: fresh })
    const by = await changing()
    world.isFrozen = true
    const [writer = '', slow = ''] = unaware(by)
    const isAccept = ({ from, to, kind, isClear }: TableMessage): boolean => !isClear && from === writer && to === slow && kind === 'accept'
    world.questions.hold(isAccept)
    const appended = does(writer, 'late', early)
    await until('it is about to be accepted', () => world.questions.count(isAccept) > 0)
    // let in under the old version, it is not on the disk when those who follow ask under the new
    world.disk(slow).rowsHang = true
    world.questions.hold((message) => message.kind === 'handOver')
    world.questions.release(isAccept)
    await pause(30)
    world.cut(between([writer], [by, ...fresh]))
    for (const name of fresh) await world.process(name)?.state.adoptLayout(world.process(by)?.state.encodedLayout as Uint8Array, { isChosen: true })
    await pause(600)
    world.disk(slow).rowsHang = false
    await appended
    world.cut([])
    world.isFrozen = false
    await settled(fresh)
    await ends(old)
  },

  'rows are buried while the layout changes': async ({ world, old, fresh, does, eraseAll, move, changing, until, pause, settled, ends, rowsAt }) => {
    await does('ann', 'before')
    await pause(500)
    // carol misses that the row is deleted, and those who follow hear of her alone
    const some = ['ann', 'bob']
    world.questions.hold(({ from, to, kind, isClear }) => !isClear && (from === 'carol' ? some.includes(to) : to === 'carol' && some.includes(from)) && ['prepare', 'accept', 'handOver'].includes(kind))
    await eraseAll('ann')
    world.onLayout = ({ state }) => { if (state === 'changing') world.cut(between(some, fresh)) }
    await move({ from: old, to: fresh })
    await changing()
    world.isFrozen = true
    await until('dave has the row from carol', () => rowsAt('dave') > 0)
    world.cut(between(old, fresh))
    world.questions.hold(undefined)
    await pause(60_000)
    world.cut([])
    world.isFrozen = false
    await settled(fresh)
    await ends(old)
  },

  'a row that is refused in a hand-over is left to others': async ({ world, old, fresh, does, move, changing, until, settled, ends }) => {
    await does('ann', 'before')
    const isAsked = ({ from, kind }: TableMessage): boolean => kind === 'ballots' && fresh.includes(from)
    world.questions.hold(isAsked)
    await move({ from: old, to: fresh })
    const writer = await changing()
    // those who follow promise to one who dies, more than the row has, before it comes to them
    const isAccept = ({ from, kind, isClear }: TableMessage): boolean => from === writer && kind === 'accept' && !isClear
    world.questions.hold((message) => isAsked(message) || isAccept(message))
    void does(writer, 'late')
    await until('those who follow have promised', () => world.questions.count((message) => isAccept(message) && fresh.includes(message.to)) > 0)
    // and nobody brings it unasked
    world.questions.hold(({ to, kind }) => kind === 'handOver' && fresh.includes(to))
    await ends([writer])
    await settled(fresh)
    await ends(old)
  },

  'anti-entropy digs up what was buried': async ({ world, old, does, eraseAll, until, pause, rowsAt }) => {
    await does('ann', 'before')
    await eraseAll('ann')
    // one of them does not hear that it may go; the others must not have it back by a proposal that nobody asked for
    let deaf: string | undefined
    const all = rowsAt('ann')
    const isBuried = (): boolean => old.some((name) => rowsAt(name) < all)
    world.questions.hold(({ to, kind, isClear }) => {
      if (kind === 'prepare' && !isClear && isBuried()) world.violations.push('what was buried is proposed again')
      if (kind === 'bury') deaf ??= to
      return kind === 'bury' && to === deaf
    })
    await until('another has buried it', isBuried)
    await pause(40_000)
  },

  'a change is left to the member that began it': async ({ world, old, fresh, appendAll, readAll, move, changing, until, pause, settled }) => {
    const [dave = '', eve = ''] = fresh
    await appendAll('ann')
    // while dave enters eve joins as well: who is to follow is replaced, and nothing is begun anew
    world.mayFinish = false
    await move({ from: [], to: [dave] })
    const began = await changing()
    await move({ from: [], to: [eve] })
    const layoutOf = (name: string) => world.process(name)?.state.layout
    await until('eve is to follow too', () => layoutOf(began)?.next?.members.some(({ peerId }) => peerId === world.peerOf(eve)) === true)
    // and then, in the middle of both, the one that began them dies
    world.kill(began)
    world.mayFinish = true
    const left = [...old, dave, eve].filter((name) => name !== began)
    await until('the others have finished both', () => left.every((name) => layoutOf(name)?.state === 'settled' && [dave, eve].every((one) => layoutOf(name)?.members.some(({ peerId }) => peerId === world.peerOf(one)) === true)))
    await readAll(dave)
    await readAll(eve)
    await world.start(began)
    await pause(1_000)
    await settled([...old, dave, eve])
    await readAll(began)
  },

  'whoever misses somebody says that all do': async ({ world, old, fresh, last, move, settled, pause }) => {
    const [dave = ''] = fresh
    const [keeper = ''] = old.filter((name) => name !== last)
    await move({ from: [], to: [dave] })
    await settled([...old, dave])
    world.onLayout = (layout) => { if (layout.state === 'changing') world.violations.push(`${dave} is left out, whom ${keeper} alone does not hear`) }
    world.cut(between([keeper], [dave]))
    await pause(30_000)
    world.cut([])
  },

  'whoever comes first is waited for, whomever it reaches': async ({ world, old, fresh, layoutOf, move, until, settled }) => {
    const [five, comes] = [[...old, ...fresh.slice(0, 2)], fresh.slice(2)]
    await move({ from: [], to: fresh.slice(0, 2) })
    await settled(five)
    const [first = '', second = '', ...others] = five.toSorted((a, b) => world.peerOf(a) < world.peerOf(b) ? -1 : 1)
    await move({ from: [], to: comes })
    world.cut(between([first], [...others, ...comes]))
    await until('who comes is taken in', () => layoutOf(second).state === 'settled' && layoutOf(second).members.length === 6)
    world.cut([])
    await settled([...five, ...comes])
  },
} as const satisfies Readonly<Record<string, LayoutHistory>>

/** Who proposes a change is cut off with those who follow, before the other two know. */
async function proposerAloneWithNew ({ world, old, fresh, move, changing, does, pause }: Stage): Promise<void> {
  await does('ann', 'before')
  world.onLayout = (layout, by) => { if (layout.state === 'changing') world.cut(between(old.filter((name) => name !== by), [by, ...fresh])) }
  await move({ from: old, to: fresh })
  const by = await changing()
  world.isFrozen = true
  await pause(4_000)
  await does(by, 'new')
  await does(old.find((name) => name !== by) as string, undefined)
  world.cut([])
}

/** This one has proposed more than the others: what it proposes is above what they do. */
async function busy (does: Stage['does'], name: string): Promise<void> { for (let i = 0; i < 40; i++) await does(name, `b${i}`, 1) }

/** From `begin` on what one proposes is promised by itself and some others, and accepted by itself alone. */
function halfMade (world: World, { by, asked, isOfCluster }: { by: string, asked: readonly string[], isOfCluster: boolean }): { begin: () => void, isMade: () => boolean } {
  const isHeld = ({ from, to, kind, isClear }: TableMessage): boolean => isClear === isOfCluster && from === by && (kind === 'accept' || kind === 'handOver' || (kind === 'prepare' && !asked.includes(to)))
  let sinceMs: number | undefined
  return {
    begin: () => { world.questions.hold(isHeld) },
    isMade: () => {
      if (world.questions.count(({ from, kind }) => from === by && kind === 'accept') > 0) sinceMs ??= world.time.nowMs
      return sinceMs !== undefined && world.time.nowMs - sinceMs > 20
    },
  }
}

export type LayoutHistory = (stage: Stage) => Promise<void>

export interface Stage {
  readonly world: World
  readonly old: readonly string[]
  readonly fresh: readonly string[]
  readonly until: (what: string, isTrue: () => boolean | Promise<boolean>) => Promise<void>
  /** Who decides about a row. */
  readonly votersOf: (key: number) => readonly string[]
  /** Rows, and traces of them, that a node has. */
  readonly rowsAt: (name: string) => number
  readonly addressOf: (key: number) => RowAddress
  readonly layoutOf: (name: string) => Layout
  /** A node with a fault: it proposes this one, and goes by it if it is chosen. */
  readonly proposes: (name: string, layout: Layout) => Promise<void>
  /** Of the old ones, the last to propose a layout. */
  readonly last: string
  /** Those drain, these join: as soon as `isFrozen` is false, one change of the layout. */
  readonly move: (who: { from: readonly string[], to: readonly string[] }) => Promise<void>
  /** Until a layout changes: who proposed it. */
  readonly changing: () => Promise<string>
  /** Until these go by a settled layout in which they are. */
  readonly settledWith: (names: readonly string[]) => Promise<void>
  /** Until a layout of these alone is settled. */
  readonly settled: (names: readonly string[]) => Promise<void>
  /** A client of this node appends a token, or reads. */
  readonly does: (name: string, token: string | undefined, key?: number) => Promise<void>
  /** Whether it was told that it is done. */
  readonly isTold: (name: string, token: string | undefined, key?: number) => Promise<boolean>
  readonly appendAll: (name: string) => Promise<void>
  readonly eraseAll: (name: string) => Promise<void>
  readonly readAll: (name: string) => Promise<void>
  /** Until none of these has a trace of the rows. */
  readonly buried: (names: readonly string[]) => Promise<void>
  readonly restart: (name: string, meanwhile: () => void) => Promise<void>
  /** They are gone for good. */
  readonly ends: (names: readonly string[]) => Promise<void>
  readonly pause: (durationMs: number) => Promise<void>
  /** Partition of a row. */
  readonly used: (key: number) => number
}

const between = (some: readonly string[], others: readonly string[]): ReadonlyArray<readonly [string, string]> =>
  some.flatMap((a) => others.filter((b) => b !== a && !some.includes(b)).flatMap((b) => [[a, b], [b, a]] as const))

const calm: WorldWeather = { loss: 0, duplicates: 0, maxLatencyMs: 5, stragglers: 0, maxSyncMs: 3 }
/** One of a partition that is taken over with the first. */
const early = 12
const keys = [...'abcdefghijkl'.split(''), Array.from({ length: 1000 }, (_, i) => `early${i}`).find((key) => partitionOf(plainCodec.rowKeyOf(addressOf(key))) < 60) ?? '']

/** What no register could have told in the end, when whoever is not gone answers again. */
export async function simulateLayoutHistory ({ seed, history, variant, old = ['ann', 'bob', 'carol'], fresh = ['dave', 'eve', 'frank'], storage, admins, hasJoins = false }: { seed: number, history: LayoutHistory, variant?: WorldVariant | undefined, old?: readonly string[], fresh?: readonly string[], storage?: readonly string[] | undefined, admins?: readonly string[] | undefined, /** Those that follow join as in the product. */ hasJoins?: boolean }): Promise<{ violations: readonly string[], events: readonly string[] }> {
  const world = new World({ seed, names: [...old, ...fresh], founders: old.length, weather: calm, variant, isBurying: true, storage: storage ?? [], admins: admins ?? [], hasJoins })
  const recorded: Recorded[] = []
  const { violations } = world
  let proposer: string | undefined
  const pause = async (durationMs: number): Promise<void> => world.time.sleep(durationMs)
  const until: Stage['until'] = async (what, isTrue) => {
    for (const endMs = world.time.nowMs + 120_000; !await isTrue();) {
      if (world.time.nowMs > endMs) throw new Stuck(`never: ${what}`)
      await pause(50)
    }
  }
  const isTold: Stage['isTold'] = async (through, token, key = 0) => {
    await pause(1)
    return carryOut(world, { by: 'client', through, key: keys[key] as string, token, record: (operation) => { recorded.push(operation) } })
  }
  const does: Stage['does'] = async (...of) => { await isTold(...of) }
  const rowKeys = new Map(keys.map((key) => [key, plainCodec.rowKeyOf(addressOf(key))]))
  const rowsAt = (name: string): number => [...world.disk(name).rows.rows.values()].filter(({ table }) => table === tables.accessKeys).length
  const stage: Stage = {
    world, old, fresh, pause, does, isTold, until, rowsAt,
    votersOf: (key) => { const peers = world.process('ann')?.engine.voters.ofPartition(stage.used(key)) ?? []; return [...old, ...fresh].filter((name) => peers.includes(world.peerOf(name))) },
    last: old.toSorted((a, b) => world.peerOf(a) < world.peerOf(b) ? -1 : 1).at(-1) ?? '',
    addressOf: (key) => addressOf(keys[key] as string),
    layoutOf: (name) => { const layout = world.process(name)?.state.layout; if (layout === undefined) throw new Stuck(`${name} does not run`); return layout },
    async proposes (name, layout) {
      const { engine, state } = world.process(name) as Process
      const encoded = encodeLayout(layout)
      const isChosen = await engine.registers.change<boolean>(layoutAddress, () => ({ kind: 'write', value: encoded, result: true })).catch((error: unknown) => { world.say(String(error)); return false })
      if (isChosen) await state.adoptLayout(encoded, { isChosen: true })
      world.say(`${name} proposes layout ${layout.version} ${layout.state}, which is ${isChosen ? '' : 'not '}chosen`)
    },
    used: (key) => partitionOf(rowKeys.get(keys[key] as string) as Uint8Array),
    appendAll: async (through) => { for (const [i, key] of keys.entries()) await does(through, `${key}1`, i) },
    async move ({ from, to }) {
      world.isFrozen = true
      for (const name of to) {
        if (!world.isAlive(name)) await world.start(name)
        if (world.draining.has(name)) await world.drain(name, false, 'ann')
        else await untilJoined(world, name, 'ann')
      }
      for (const name of from) await world.drain(name, true, from.includes('ann') ? 'ann' : 'bob')
      await pause(600)
      world.isFrozen = false
    },
    async changing () { await until('a layout changes', () => proposer !== undefined); return proposer ?? '' },
    settled: async (names) => until(`a settled layout of ${names.join()}`, () => names.every((name) => {
      const layout = world.process(name)?.state.layout
      return layout?.state === 'settled' && layout.members.length === names.length && names.every((one) => layout.members.some(({ peerId }) => peerId === world.peerOf(one)))
    })),
    settledWith: async (names) => until(`a settled layout with ${names.join()}`, () => names.every((name) => {
      const layout = world.process(name)?.state.layout
      return layout?.state === 'settled' && names.every((one) => layout.members.some(({ peerId }) => peerId === world.peerOf(one)))
    })),
    readAll: async (through) => { for (const i of keys.keys()) await does(through, undefined, i) },
    async eraseAll (through) {
      for (const key of keys) await world.registersOf(through)?.change(addressOf(key), () => ({ kind: 'erase', result: undefined }))
      // from here on there was nothing before
      recorded.length = 0
    },
    buried: async (names) => until('the rows are buried', () => names.every((name) => rowsAt(name) === 0)),
    async restart (name, meanwhile) { world.kill(name); meanwhile(); await pause(20); await world.start(name) },
    async ends (names) { for (const name of names) world.kill(name); await pause(1_000) },
  }
  let isOver = false
  const story = (async () => {
    await world.begin(old.length)
    if (!hasJoins) for (const name of old) await untilJoined(world, name, 'ann')
    await pause(2_000)
    world.onChanging = (by) => { proposer = by }
    await history(stage)
    world.questions.hold(undefined)
    await pause(1_000)
    for (const [i] of keys.entries()) await does(fresh.find((name) => world.isAlive(name)) ?? old.find((name) => world.isAlive(name)) ?? '', undefined, i)
  })().catch((error: unknown) => { if (!(error instanceof Stuck)) throw error; violations.push(error.message) }).finally(() => { isOver = true })
  await Promise.race([world.time.run(() => isOver), story])
  await story
  variant?.undo?.()
  for (const key of keys) violations.push(...logViolations(recorded.filter((operation) => operation.key === key)).map((violation) => `row ${key}: ${violation}`))
  return { violations, events: [...world.events, ...recorded.map(({ what, startMs, endMs, key }) => `${startMs.toFixed(1)} ${endMs.toFixed(1)} ${key} ${what}`)] }
}

class Stuck extends Error {}
