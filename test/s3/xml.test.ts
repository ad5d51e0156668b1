import { describe, expect, test } from 'vitest'
import { childrenOf, childText, parseXml, xmlLimits } from '../../src/api/s3/xml-reader.ts'
import { document, element } from '../../src/api/s3/xml.ts'

const parsed = (text: string, root = 'Delete'): ReturnType<typeof parseXml> => parseXml(Buffer.from(text), root)

describe('XML that comes', () => {
  test('is read: namespaces and attributes left aside, entities and CDATA resolved', () => {
    const node = parsed('\ufeff<?xml version="1.0"?>\n<!-- hello --><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">\n <s3:Object><Key>a&amp;b&#x20;&#60;<![CDATA[<c>]]></Key></s3:Object>\n<Object><Key/></Object><Quiet>true</Quiet></Delete>')
    expect(childrenOf(node, 'Object').map((object) => childText(object, 'Key'))).toEqual(['a&b <<c>', ''])
    expect(childText(node, 'Quiet')).toBe('true')
  })

  test.each([
    ['a billion laughs', '<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]><Delete>&lol2;</Delete>'],
    ['an external entity', '<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete>&x;</Delete>'],
    ['a document type behind the declaration', '<?xml version="1.0"?><!DOCTYPE Delete><Delete/>'],
    ['an entity that nobody declared', '<Delete>&x;</Delete>'],
    ['an entity without end', '<Delete>&amp</Delete>'],
    ['a reference to a surrogate', '<Delete>&#xd800;</Delete>'],
    ['a reference beyond Unicode', '<Delete>&#x110000;</Delete>'],
    ['nesting without end', '<Delete>'.repeat(100_000)],
    ['nesting', `${'<Delete>'.repeat(xmlLimits.maxDepth + 1)}${'</Delete>'.repeat(xmlLimits.maxDepth + 1)}`],
    ['too many elements', `<Delete>${'<a/>'.repeat(xmlLimits.maxElements)}</Delete>`],
    ['another root', '<Other/>'],
    ['an element that is not closed', '<Delete><Object></Delete>'],
    ['nothing', ''],
    ['text alone', 'hello'],
    ['two roots', '<Delete/><Delete/>'],
    ['a comment without end', '<Delete><!-- </Delete>'],
    ['a processing instruction within', '<Delete><?php ?></Delete>'],
    ['an unquoted attribute', '<Delete a=b/>'],
  ])('%s is refused', (_name, text) => {
    expect(() => parsed(text)).toThrow(expect.objectContaining({ code: 'MalformedXML' }) as Error)
  })

  test('bytes that are not UTF-8, and too many of them, are refused', () => {
    expect(() => parseXml(Buffer.from([0x3c, 0xff]), 'Delete')).toThrow('UTF-8')
    expect(() => parseXml(Buffer.alloc(xmlLimits.maxBytes + 1, 32), 'Delete')).toThrow('too long')
  })

  test('a megabyte of what looks like tags takes no time worth telling', () => {
    const before = process.cpuUsage().user
    expect(() => parsed('<Delete' + ' a="b"'.repeat(150_000))).toThrow('element')
    expect(process.cpuUsage().user - before).toBeLessThan(2_000_000)
  })
})

describe('XML that goes', () => {
  test('is escaped, and reads back as it was', () => {
    const text = `a<b>&"'\r\n\t\u0001é😀`
    expect(document('R', element('Key', text))).toBe('<?xml version="1.0" encoding="UTF-8"?>\n<R xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Key>a&lt;b&gt;&amp;&quot;&apos;&#13;&#10;&#9;&#1;é😀</Key></R>')
    expect(childText(parseXml(Buffer.from(document('R', element('Key', text))), 'R'), 'Key')).toBe(text)
  })
})
