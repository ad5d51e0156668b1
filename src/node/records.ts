import { ByteReader } from '../base/bytes.ts'
import { parseClearRow } from '../cluster/clear-row.ts'
import { readBallot } from '../tables/ballot.ts'
import { deathBallot } from '../tables/deaths.ts'
import { type Ballot, isClear, type TableNumber, tables } from '../tables/index.ts'

/** The ballot in a record; needs no key, so a row store can be opened before there is one. */
export const looseBallotOf = (table: TableNumber, record: Uint8Array): Ballot =>
  table === tables.deaths ? deathBallot : readBallot(new ByteReader(isClear(table) ? parseClearRow(record).ballot : record))
