export { type Joined, type Joiner, joinCluster } from './join-client.ts'
export { joinId, joinLimits } from './join-messages.ts'
export { joinProtocol, type Sponsor } from './join-sponsor.ts'
