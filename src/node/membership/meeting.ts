import type { Clock } from '../../base/clock.ts'
import type { PeerId } from '../../base/peer-id.ts'
import type { Files } from '../../disk/index.ts'
import { addressBytes, addressTexts } from '../../network/addresses.ts'
import type { Network } from '../../network/libp2p-network.ts'
import { type Hello, helloProtocol } from '../../protocols/hello.ts'
import { membershipCheck } from '../../protocols/membership.ts'
import type { Registers } from '../../tables/index.ts'
import type { TablePeers } from '../../tables/registers.ts'
import type { StorePositions } from '../layout/store-positions.ts'
import type { ClusterState } from '../state.ts'
import type { GivenUp } from '../work/given-up.ts'
import { Eras, type ErasParts } from './eras.ts'
import { Greetings, type GreetingsParts } from './greetings.ts'
import { readKnownPeers, writeKnownPeers } from './known-peers.ts'
import { addressesIn, layoutGuard, votersIn } from './membership.ts'
import { membershipSources } from './membership-sources.ts'
import { algorithmCapability, endSessions, epochCapability } from './sessions.ts'
import type { UnknownPeers } from './unknown-peers.ts'

export interface MeetingParts {
  readonly files: Files
  readonly state: ClusterState
  readonly positions: StorePositions
  readonly unknown: Pick<UnknownPeers, 'note'>
  readonly givenUp: Pick<GivenUp, 'has'>
  /** Given when they are there: greetings come over the network, and the network asks who has greeted. */
  readonly network: () => Network
  readonly registers: () => Registers
  readonly peers: () => TablePeers
  readonly acceptedEra: ErasParts['accepted']
  /** Of those whose secrets are here; undefined on a node without keys. */
  readonly newestEpoch: () => number | undefined
  readonly freeBytes: () => number
  readonly clock: Clock
  readonly log: GreetingsParts['log']
  readonly warn: (message: string, cause: unknown) => void
}

/** How a node meets others: whom it greets, lets in and puts out, and how it hears of eras. */
export interface Meeting {
  readonly eras: Eras
  readonly greetings: Greetings
  /** For the network: says hello over a fresh connection. */
  readonly greet: (peer: PeerId, wait: { signal: AbortSignal }) => Promise<void>
  readonly isMember: (peer: PeerId) => boolean
  /** The network is there: hello is answered, and everybody who is known is looked for. */
  begin (): Promise<void>
}

export function meetingOf ({ files, state, positions, unknown, givenUp, network, registers, peers, acceptedEra, newestEpoch, freeBytes, clock, log, warn }: MeetingParts): Meeting {
  const eras = new Eras({
    state, registers, voters: () => votersIn(state), accepted: acceptedEra, clock,
    // who is not in it has no more to say here
    risen: () => { log.info({ era: state.era.number, left: endSessions({ state, greetings: greetings.all, network: network(), warn }) }, 'an era has begun') },
  })
  const guard = layoutGuard(state, peers)
  const sources = membershipSources({ state, eras, registers, unknown })
  const greetings: Greetings = new Greetings({
    state, clock, positions, network, hello: () => hello, log, warn,
    adoptLayout: async (version, from) => guard.adopt(version, from),
    saveKnown: async () => writeKnownPeers(files, network().known),
    readMemberRow: async (key) => sources.memberRowHash(key),
  })
  const hello: Hello = helloProtocol({
    self: (peer, shown) => {
      const epoch = newestEpoch()
      return {
        ...positions.shownTo(peer, shown),
        certificate: state.certificate, era: state.era, versions: [1], capabilities: [algorithmCapability, ...epoch === undefined ? [] : [epochCapability(epoch)]], freeBytes: freeBytes(), layoutVersion: state.layout.version,
        addresses: network().addresses().map(addressBytes),
      }
    },
    verify: membershipCheck(sources),
    greeted: (greeting) => {
      const isKnown = network().admission.isAdmitted(greeting.peer)
      greetings.heard(greeting)
      if (network().admit(greeting.peer) && !isKnown) greetings.met(greeting)
    },
    refused: async (peer) => {
      // one that was lost and is back: it learns from our greeting that an era has begun without it. That it then refuses the greeting, or has gone, changes nothing here: it is told again when it comes again
      if (givenUp.has(peer)) await hello.greet(peer).catch(() => {})
    },
  })
  return {
    eras, greetings,
    greet: async (peer, wait) => {
      const greeting = await hello.greet(peer, wait)
      greetings.heard(greeting)
      greetings.met(greeting)
    },
    isMember: (peer) => state.belongs(peer) || greetings.all.has(peer),
    async begin () {
      await hello.register(network().requests)
      for (const [peer, addresses] of addressesIn(state)) network().know(peer, addressTexts(addresses))
      for (const [peer, addresses] of await readKnownPeers(files)) if (!state.members.has(peer as PeerId) || state.belongs(peer as PeerId)) network().know(peer as PeerId, addresses)
    },
  }
}
