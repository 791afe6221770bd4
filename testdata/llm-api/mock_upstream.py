#!/usr/bin/env python3
"""Mock LLM upstream (stdlib only, asyncio, HTTP/1.1 keep-alive, chunked SSE).

    python3 mock_upstream.py --port 24050 [--host 127.0.0.1] [--chunk 0] [--delay-ms 0] [--log 2000] [--quiet]

Speaks: OpenAI chat/completions, completions, responses, embeddings, moderations, images/generations, audio/transcriptions
(multipart), models; Azure deployments; Anthropic messages, count_tokens; Gemini generateContent / streamGenerateContent
(?alt=sse or JSON array); Bedrock converse / converse-stream (binary event stream) / invoke; Cohere v2 chat; Ollama api/chat.

Token counts are deterministic: prompt = ceil(bytes of all text in the request / 4), min 1; completion = number of words sent
(default 8, capped by max tokens). Request headers steer a single call (also accepted as query parameters with the same name):
  x-mock-prompt-tokens / x-mock-completion-tokens / x-mock-cached-tokens / x-mock-reasoning-tokens   force counts
  x-mock-words N        words of output            x-mock-chunk N     split the response in N-byte writes (0 = per SSE frame)
  x-mock-delay-ms N     sleep between writes       x-mock-ttfb-ms N   sleep before the first byte
  x-mock-status N       answer an error in the dialect of the path; x-mock-retry-after V, x-mock-should-retry V are echoed
  x-mock-no-usage 1     leave usage out            x-mock-crlf 1      CRLF line ends in SSE
  x-mock-comments 1     ": keep-alive" comments    x-mock-abort N     close the socket after N body bytes
  x-mock-gzip 1         gzip the (non-stream) body x-mock-length 1    Content-Length instead of chunked (non-stream default)
  x-mock-text TEXT      the words to send
Debug: GET /__mock/last, GET /__mock/log?n=20, GET /__mock/stats, POST /__mock/reset. Every answer carries
x-mock-id (serial) and x-mock-saw (JSON: the request headers received, lower case).
"""
import argparse, asyncio, base64, collections, gzip, itertools, json, math, struct, time, urllib.parse, zlib

ARGS = None
LOG = collections.deque(maxlen=2000)
STATS = collections.Counter()
SERIAL = itertools.count(1)
REASON = {200: 'OK', 400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found', 413: 'Payload Too Large', 415: 'Unsupported Media Type', 429: 'Too Many Requests', 500: 'Internal Server Error', 502: 'Bad Gateway', 503: 'Service Unavailable', 529: 'Overloaded'}


def dumps(o): return json.dumps(o, ensure_ascii=False, separators=(',', ':'))


def text_bytes(o):
    if isinstance(o, str): return len(o.encode('utf-8', 'surrogatepass'))
    if isinstance(o, dict): return sum(text_bytes(v) for k, v in o.items() if k not in ('model', 'role', 'type', 'stream'))
    if isinstance(o, list): return sum(text_bytes(v) for v in o)
    return 0


class Call:
    def __init__(s, method, target, headers, body):
        s.method, s.target, s.headers, s.body = method, target, headers, body
        s.id = next(SERIAL)
        sp = urllib.parse.urlsplit(target)
        s.rawpath, s.path = sp.path, urllib.parse.unquote(sp.path)
        s.query = dict(urllib.parse.parse_qsl(sp.query))
        s.json = None
        enc = headers.get('content-encoding', '')
        raw = body
        if enc == 'gzip':
            try: raw = gzip.decompress(body)
            except OSError: pass
        ct = headers.get('content-type', '')
        s.form = {}
        if ct.lower().startswith('multipart/form-data'):
            s.form = parse_multipart(raw, ct)
        elif raw:
            try: s.json = json.loads(raw)
            except ValueError: s.json = None

    def opt(s, name, default=None):
        return s.headers.get('x-mock-' + name, s.query.get('x-mock-' + name, default))

    def num(s, name, default):
        v = s.opt(name)
        return default if v is None else int(float(v))


def parse_multipart(b, ct):
    out = {}
    i = ct.lower().find('boundary=')
    if i < 0: return out
    bd = ct[i + 9:].split(';')[0].strip().strip('"').encode()
    for part in (b'\r\n' + b).split(b'\r\n--' + bd)[1:]:
        h, _, v = part.partition(b'\r\n\r\n')
        for line in h.split(b'\r\n'):
            if line.lower().startswith(b'content-disposition'):
                for p in line.split(b';')[1:]:
                    k, _, val = p.strip().partition(b'=')
                    if k.lower() == b'name' and b'filename=' not in line.lower():
                        out[val.strip(b'"').decode('latin1')] = v.decode('utf-8', 'replace')
    return out


class Reply:
    """status, headers, and either body (bytes) or frames (list of bytes, streamed chunked)."""
    def __init__(s, status=200, body=b'', ctype='application/json', headers=None, frames=None):
        s.status, s.body, s.ctype, s.headers, s.frames = status, body, ctype, headers or {}, frames


def jreply(o, status=200, headers=None): return Reply(status, dumps(o).encode(), headers=headers)


def dialect(path):
    if '/v1/messages' in path: return 'anthropic'
    if ':generateContent' in path or ':streamGenerateContent' in path or '/v1beta/' in path and '/openai/' not in path: return 'gemini'
    if path.startswith('/model/'): return 'bedrock'
    return 'openai'


ATYPE = {400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 404: 'not_found_error', 413: 'request_too_large', 429: 'rate_limit_error', 529: 'overloaded_error'}
GSTAT = {400: 'INVALID_ARGUMENT', 401: 'UNAUTHENTICATED', 403: 'PERMISSION_DENIED', 404: 'NOT_FOUND', 429: 'RESOURCE_EXHAUSTED', 503: 'UNAVAILABLE'}


def error(c, status, msg='mock error'):
    d = dialect(c.path)
    if d == 'anthropic': o = {'type': 'error', 'error': {'type': ATYPE.get(status, 'api_error'), 'message': msg}, 'request_id': f'req_{c.id}'}
    elif d == 'gemini': o = {'error': {'code': status, 'message': msg, 'status': GSTAT.get(status, 'INTERNAL')}}
    elif d == 'bedrock': o = {'message': msg}
    else: o = {'error': {'message': msg, 'type': 'invalid_request_error' if status < 429 else 'requests' if status == 429 else 'server_error', 'param': None, 'code': 'rate_limit_exceeded' if status == 429 else None}}
    h = {}
    if c.opt('retry-after') is not None: h['retry-after'] = c.opt('retry-after')
    if c.opt('should-retry') is not None: h['x-should-retry'] = c.opt('should-retry')
    return jreply(o, status, h)


class Gen:
    def __init__(s, c, cap=None):
        j = c.json if isinstance(c.json, dict) else {}
        s.p = c.num('prompt-tokens', max(1, math.ceil(text_bytes(j) / 4)))
        n = c.num('words', 8)
        if isinstance(cap, int) and cap > 0: n = min(n, cap)
        t = c.opt('text')
        s.words = t.split(' ') if t else [f'word{i}' for i in range(n)]
        if not t: s.words = s.words[:n]
        s.words = [w if i == 0 else ' ' + w for i, w in enumerate(s.words)]
        s.c = c.num('completion-tokens', len(s.words))
        s.cached = c.num('cached-tokens', 0)
        s.r = c.num('reasoning-tokens', 0)
        s.usage = not c.opt('no-usage')
        s.text = ''.join(s.words)
        s.capped = isinstance(cap, int) and len(s.words) >= cap

    def oai(s): return {'prompt_tokens': s.p, 'completion_tokens': s.c, 'total_tokens': s.p + s.c, 'prompt_tokens_details': {'cached_tokens': s.cached, 'audio_tokens': 0}, 'completion_tokens_details': {'reasoning_tokens': s.r, 'audio_tokens': 0, 'accepted_prediction_tokens': 0, 'rejected_prediction_tokens': 0}}
    def rsp(s): return {'input_tokens': s.p, 'input_tokens_details': {'cached_tokens': s.cached, 'cache_write_tokens': 0}, 'output_tokens': s.c, 'output_tokens_details': {'reasoning_tokens': s.r}, 'total_tokens': s.p + s.c}
    def ant(s): return {'input_tokens': s.p - s.cached, 'cache_creation_input_tokens': 0, 'cache_read_input_tokens': s.cached, 'output_tokens': s.c}
    def gem(s, k=None):
        vis = s.c - s.r if k is None else min(k, s.c - s.r)
        o = {'promptTokenCount': s.p, 'candidatesTokenCount': vis, 'totalTokenCount': s.p + vis + s.r}
        if s.r: o['thoughtsTokenCount'] = s.r
        if s.cached: o['cachedContentTokenCount'] = s.cached
        return o


def sse(c, items, event=False, done=False):
    nl = '\r\n' if c.opt('crlf') else '\n'
    fr = []
    for o in items:
        if c.opt('comments'): fr.append(f': keep-alive{nl}{nl}'.encode())
        t = (f'event: {o["type"]}{nl}' if event else '') + 'data: ' + dumps(o) + nl + nl
        fr.append(t.encode())
    if done: fr.append(f'data: [DONE]{nl}{nl}'.encode())
    return Reply(frames=fr, ctype='text/event-stream; charset=utf-8', headers={'cache-control': 'no-cache'})


def need(c, *keys):
    if not isinstance(c.json, dict): return error(c, 400, 'We could not parse the JSON body of your request.')
    for k in keys:
        if k not in c.json: return error(c, 400, f'you must provide a {k} parameter')


def openai_chat(c, model=None):
    e = need(c, 'messages') or (None if model else need(c, 'model'))
    if e: return e
    j = c.json; model = model or j['model']; g = Gen(c, j.get('max_completion_tokens') or j.get('max_tokens'))
    base = {'id': f'chatcmpl-{c.id}', 'created': int(time.time()), 'model': model, 'service_tier': 'default', 'system_fingerprint': 'fp_mock'}
    fin = 'length' if g.capped else 'stop'
    if not j.get('stream'):
        o = {**base, 'object': 'chat.completion', 'choices': [{'index': 0, 'message': {'role': 'assistant', 'content': g.text, 'refusal': None, 'annotations': []}, 'logprobs': None, 'finish_reason': fin}]}
        if g.usage: o['usage'] = g.oai()
        return jreply(o)
    iu = bool((j.get('stream_options') or {}).get('include_usage')) and g.usage
    def ch(delta, f=None): return {**base, 'object': 'chat.completion.chunk', 'choices': [{'index': 0, 'delta': delta, 'logprobs': None, 'finish_reason': f}], **({'usage': None} if iu else {})}
    items = [ch({'role': 'assistant', 'content': '', 'refusal': None})] + [ch({'content': w}) for w in g.words] + [ch({}, fin)]
    if iu: items.append({**base, 'object': 'chat.completion.chunk', 'choices': [], 'usage': g.oai()})
    return sse(c, items, done=True)


def openai_completions(c):
    e = need(c, 'model')
    if e: return e
    j = c.json; g = Gen(c, j.get('max_tokens'))
    base = {'id': f'cmpl-{c.id}', 'object': 'text_completion', 'created': int(time.time()), 'model': j['model']}
    if not j.get('stream'): return jreply({**base, 'choices': [{'index': 0, 'text': g.text, 'logprobs': None, 'finish_reason': 'stop'}], **({'usage': g.oai()} if g.usage else {})})
    iu = bool((j.get('stream_options') or {}).get('include_usage')) and g.usage
    items = [{**base, 'choices': [{'index': 0, 'text': w, 'logprobs': None, 'finish_reason': None}], **({'usage': None} if iu else {})} for w in g.words]
    if iu: items.append({**base, 'choices': [], 'usage': g.oai()})
    return sse(c, items, done=True)


def openai_responses(c):
    e = need(c, 'model')
    if e: return e
    j = c.json; g = Gen(c, j.get('max_output_tokens')); rid = f'resp_{c.id}'
    msg = {'id': f'msg_{c.id}', 'type': 'message', 'status': 'completed', 'role': 'assistant', 'content': [{'type': 'output_text', 'text': g.text, 'annotations': [], 'logprobs': []}]}
    def r(status, out, usage): return {'id': rid, 'object': 'response', 'created_at': int(time.time()), 'status': status, 'error': None, 'incomplete_details': None, 'instructions': None, 'metadata': {}, 'model': j['model'], 'output': out, 'parallel_tool_calls': True, 'temperature': 1.0, 'tool_choice': 'auto', 'tools': [], 'top_p': 1.0, 'usage': usage}
    u = g.rsp() if g.usage else None
    if not j.get('stream'): return jreply(r('completed', [msg], u))
    n = itertools.count(); items = []
    def ev(t, **k): items.append({'type': t, 'sequence_number': next(n), **k})
    ev('response.created', response=r('in_progress', [], None)); ev('response.in_progress', response=r('in_progress', [], None))
    ev('response.output_item.added', output_index=0, item={**msg, 'status': 'in_progress', 'content': []})
    ev('response.content_part.added', item_id=msg['id'], output_index=0, content_index=0, part={'type': 'output_text', 'text': '', 'annotations': [], 'logprobs': []})
    for w in g.words: ev('response.output_text.delta', item_id=msg['id'], output_index=0, content_index=0, delta=w, logprobs=[])
    ev('response.output_text.done', item_id=msg['id'], output_index=0, content_index=0, text=g.text, logprobs=[])
    ev('response.content_part.done', item_id=msg['id'], output_index=0, content_index=0, part=msg['content'][0])
    ev('response.output_item.done', output_index=0, item=msg); ev('response.completed', response=r('completed', [msg], u))
    return sse(c, items, event=True)


def openai_embeddings(c, model=None):
    e = need(c, 'input') or (None if model else need(c, 'model'))
    if e: return e
    j = c.json; inp = j['input']; items = inp if isinstance(inp, list) and inp and not isinstance(inp[0], int) else [inp]
    g = Gen(c); vec = [0.1, -0.2, 0.3, 0.4]
    emb = base64.b64encode(struct.pack('<4f', *vec)).decode() if j.get('encoding_format') == 'base64' else vec
    return jreply({'object': 'list', 'data': [{'object': 'embedding', 'index': i, 'embedding': emb} for i in range(len(items))], 'model': model or j['model'], **({'usage': {'prompt_tokens': g.p, 'total_tokens': g.p}} if g.usage else {})})


MODELS = ['gpt-4o', 'gpt-4o-mini', 'gpt-5', 'text-embedding-3-small', 'claude-sonnet-4-5', 'gemini-2.5-flash']


def models(c):
    if 'anthropic-version' in c.headers:
        return jreply({'data': [{'type': 'model', 'id': m, 'display_name': m, 'created_at': '2026-01-01T00:00:00Z'} for m in MODELS], 'first_id': MODELS[0], 'last_id': MODELS[-1], 'has_more': False})
    return jreply({'object': 'list', 'data': [{'id': m, 'object': 'model', 'created': 1, 'owned_by': 'mock'} for m in MODELS]})


def anthropic(c):
    e = need(c, 'model', 'messages')
    if e: return e
    j = c.json
    if c.path.endswith('/count_tokens'): return jreply({'input_tokens': Gen(c).p})
    e = need(c, 'max_tokens')
    if e: return e
    g = Gen(c, j.get('max_tokens')); u = g.ant()
    m = {'id': f'msg_{c.id}', 'type': 'message', 'role': 'assistant', 'model': j['model'], 'content': [], 'stop_reason': None, 'stop_sequence': None}
    stop = 'max_tokens' if g.capped else 'end_turn'
    if not j.get('stream'): return Reply(200, dumps({**m, 'content': [{'type': 'text', 'text': g.text}], 'stop_reason': stop, **({'usage': u} if g.usage else {})}).encode(), headers={'request-id': f'req_{c.id}'})
    u0 = {**u, 'output_tokens': 1}
    items = [{'type': 'message_start', 'message': {**m, 'usage': u0}}, {'type': 'content_block_start', 'index': 0, 'content_block': {'type': 'text', 'text': ''}}, {'type': 'ping'}]
    items += [{'type': 'content_block_delta', 'index': 0, 'delta': {'type': 'text_delta', 'text': w}} for w in g.words]
    items += [{'type': 'content_block_stop', 'index': 0}, {'type': 'message_delta', 'delta': {'stop_reason': stop, 'stop_sequence': None}, 'usage': u}, {'type': 'message_stop'}]
    return sse(c, items, event=True)


def gemini(c):
    if not isinstance(c.json, dict): return error(c, 400, 'Invalid JSON payload received.')
    m = c.path.split('/models/', 1)[1]; model, _, verb = m.rpartition(':')
    if verb == 'countTokens': return jreply({'totalTokens': Gen(c).p})
    if verb not in ('generateContent', 'streamGenerateContent'): return error(c, 404, 'unknown method')
    g = Gen(c, (c.json.get('generationConfig') or {}).get('maxOutputTokens'))
    def r(t, um, fin=None): return {'candidates': [{'content': {'parts': [{'text': t}], 'role': 'model'}, **({'finishReason': fin} if fin else {}), 'index': 0}], **({'usageMetadata': um} if g.usage else {}), 'modelVersion': model, 'responseId': f'r{c.id}'}
    if verb == 'generateContent': return jreply(r(g.text, g.gem(), 'STOP'))
    items = [r(w, g.gem(i + 1) if i + 1 < len(g.words) else g.gem(), 'STOP' if i + 1 == len(g.words) else None) for i, w in enumerate(g.words)]
    if c.query.get('alt') == 'sse':
        c.headers.setdefault('x-mock-crlf', '1'); return sse(c, items)
    return Reply(frames=[(('[' if i == 0 else ',\r\n') + json.dumps(o, indent=2)).encode() for i, o in enumerate(items)] + [b'\n]'], ctype='application/json; charset=UTF-8')


def es_msg(etype, payload):
    hs = b''
    for k, v in ((':event-type', etype), (':content-type', 'application/json'), (':message-type', 'event')):
        hs += bytes([len(k)]) + k.encode() + b'\x07' + struct.pack('>H', len(v)) + v.encode()
    p = dumps(payload).encode(); pre = struct.pack('>II', 16 + len(hs) + len(p), len(hs)); pre += struct.pack('>I', zlib.crc32(pre))
    m = pre + hs + p
    return m + struct.pack('>I', zlib.crc32(m))


def bedrock(c):
    seg = c.rawpath.split('/'); verb = seg[-1]; g = Gen(c, ((c.json or {}).get('inferenceConfig') or {}).get('maxTokens'))
    u = {'inputTokens': g.p, 'outputTokens': g.c, 'totalTokens': g.p + g.c}
    if verb == 'converse': return jreply({'output': {'message': {'role': 'assistant', 'content': [{'text': g.text}]}}, 'stopReason': 'end_turn', **({'usage': u} if g.usage else {}), 'metrics': {'latencyMs': 1}})
    if verb == 'converse-stream':
        fr = [es_msg('messageStart', {'role': 'assistant'})] + [es_msg('contentBlockDelta', {'contentBlockIndex': 0, 'delta': {'text': w}}) for w in g.words] + [es_msg('contentBlockStop', {'contentBlockIndex': 0}), es_msg('messageStop', {'stopReason': 'end_turn'})]
        if g.usage: fr.append(es_msg('metadata', {'usage': u, 'metrics': {'latencyMs': 1}}))
        return Reply(frames=fr, ctype='application/vnd.amazon.eventstream')
    if verb == 'invoke':
        r = jreply({'type': 'message', 'role': 'assistant', 'content': [{'type': 'text', 'text': g.text}], 'usage': g.ant()})
        r.headers.update({'x-amzn-bedrock-input-token-count': str(g.p), 'x-amzn-bedrock-output-token-count': str(g.c)}); return r
    return error(c, 404, 'unknown operation')


def ollama(c):
    e = need(c, 'model')
    if e: return e
    g = Gen(c, (c.json.get('options') or {}).get('num_predict')); b = {'model': c.json['model'], 'created_at': '2026-01-01T00:00:00Z'}
    last = {'done': True, 'done_reason': 'stop', 'prompt_eval_count': g.p, 'eval_count': g.c}
    if c.json.get('stream') is False: return jreply({**b, 'message': {'role': 'assistant', 'content': g.text}, **last})
    fr = [(dumps({**b, 'message': {'role': 'assistant', 'content': w}, 'done': False}) + '\n').encode() for w in g.words]
    return Reply(frames=fr + [(dumps({**b, 'message': {'role': 'assistant', 'content': ''}, **last}) + '\n').encode()], ctype='application/x-ndjson')


def cohere(c):
    e = need(c, 'model', 'messages')
    if e: return e
    g = Gen(c, c.json.get('max_tokens')); u = {'billed_units': {'input_tokens': g.p, 'output_tokens': g.c}, 'tokens': {'input_tokens': g.p + 60, 'output_tokens': g.c}}
    if not c.json.get('stream'): return jreply({'id': f'c{c.id}', 'finish_reason': 'COMPLETE', 'message': {'role': 'assistant', 'content': [{'type': 'text', 'text': g.text}]}, 'usage': u})
    return sse(c, [{'type': 'message-start', 'id': f'c{c.id}', 'delta': {'message': {'role': 'assistant'}}}] + [{'type': 'content-delta', 'index': 0, 'delta': {'message': {'content': {'text': w}}}} for w in g.words] + [{'type': 'message-end', 'delta': {'finish_reason': 'COMPLETE', 'usage': u}}], event=True)


def route(c):
    p = c.path
    if c.opt('status') is not None: return error(c, int(c.opt('status')))
    if p.startswith('/model/'): return bedrock(c)
    if '/models/' in p and ':' in p.rsplit('/', 1)[-1] and c.method == 'POST': return gemini(c)
    if p.startswith('/openai/deployments/'):
        dep, _, rest = p[len('/openai/deployments/'):].partition('/')
        if rest == 'chat/completions': return openai_chat(c, dep)
        if rest == 'embeddings': return openai_embeddings(c, dep)
    if c.method == 'GET' and p.endswith('/models'): return models(c)
    if c.method == 'GET' and '/models/' in p: return jreply({'id': p.split('/models/', 1)[1], 'object': 'model', 'created': 1, 'owned_by': 'mock'})
    if c.method == 'POST':
        for suf, fn in (('/chat/completions', openai_chat), ('/completions', openai_completions), ('/responses', openai_responses), ('/embeddings', openai_embeddings), ('/messages', anthropic), ('/messages/count_tokens', anthropic), ('/v2/chat', cohere), ('/api/chat', ollama)):
            if p.endswith(suf): return fn(c)
        if p.endswith('/moderations'): return jreply({'id': 'modr-1', 'model': (c.json or {}).get('model', 'omni-moderation-latest'), 'results': [{'flagged': False, 'categories': {}, 'category_scores': {}, 'category_applied_input_types': {}}]})
        if p.endswith('/images/generations'):
            g = Gen(c); return jreply({'created': 1, 'data': [{'b64_json': 'aGk='}], 'usage': {'input_tokens': g.p, 'output_tokens': g.c, 'total_tokens': g.p + g.c, 'input_tokens_details': {'text_tokens': g.p, 'image_tokens': 0}}})
        if p.endswith('/audio/transcriptions') or p.endswith('/audio/translations'):
            if 'model' not in c.form: return error(c, 400, 'you must provide a model parameter')
            return jreply({'text': 'hello', 'usage': {'type': 'tokens', 'input_tokens': 14, 'input_token_details': {'text_tokens': 0, 'audio_tokens': 14}, 'output_tokens': 2, 'total_tokens': 16}})
        if p.endswith('/echo'): return Reply(200, c.body, c.headers.get('content-type', 'application/octet-stream'))
    return error(c, 404, f'Unknown request URL: {c.method} {c.target}')


class Abort(Exception): pass


async def read_request(r):
    line = await r.readline()
    if not line: return None
    method, target, _ = line.decode('latin1').split(' ', 2)
    h = {}
    while True:
        l = await r.readline()
        if l in (b'\r\n', b'\n', b''): break
        k, _, v = l.decode('latin1').partition(':'); k = k.strip().lower(); v = v.strip()
        h[k] = h[k] + ', ' + v if k in h else v
    return method, target, h


async def read_body(r, w, h):
    if h.get('expect', '').lower() == '100-continue': w.write(b'HTTP/1.1 100 Continue\r\n\r\n'); await w.drain()
    if 'chunked' in h.get('transfer-encoding', '').lower():
        b = bytearray()
        while True:
            n = int((await r.readline()).split(b';')[0], 16)
            if n == 0:
                while (await r.readline()) not in (b'\r\n', b'\n', b''): pass
                return bytes(b)
            b += await r.readexactly(n); await r.readline()
    n = int(h.get('content-length', 0) or 0)
    return await r.readexactly(n) if n else b''


async def send(c, rep, w, keep, rec):
    body, frames = rep.body, rep.frames
    hd = {'content-type': rep.ctype, 'x-mock-id': str(c.id), 'x-request-id': f'mock-{c.id}', **rep.headers}
    hd['x-mock-saw'] = dumps(c.headers).encode('ascii', 'backslashreplace').decode()[:6000]
    if frames is None and c.opt('gzip'): body = gzip.compress(body); hd['content-encoding'] = 'gzip'
    chunk, delay = c.num('chunk', ARGS.chunk), c.num('delay-ms', ARGS.delay_ms) / 1000
    abort = c.num('abort', -1)
    chunked = frames is not None
    if not chunked: hd['content-length'] = str(len(body)); frames = [body]
    else: hd['transfer-encoding'] = 'chunked'
    hd['connection'] = 'keep-alive' if keep else 'close'
    if c.num('ttfb-ms', 0): await asyncio.sleep(c.num('ttfb-ms', 0) / 1000)
    w.write((f'HTTP/1.1 {rep.status} {REASON.get(rep.status, "X")}\r\n' + ''.join(f'{k}: {v}\r\n' for k, v in hd.items()) + '\r\n').encode('latin1', 'replace'))
    if c.method == 'HEAD': await w.drain(); return
    if chunk > 0:
        whole = b''.join(frames); frames = [whole[i:i + chunk] for i in range(0, len(whole), chunk)]
    sent = 0
    for i, f in enumerate(frames):
        if not f: continue
        if delay and i: await asyncio.sleep(delay)
        cut = abort >= 0 and sent + len(f) > abort
        if cut: f = f[:abort - sent]
        if f: w.write(b'%x\r\n%s\r\n' % (len(f), f) if chunked else f)
        sent += len(f); rec['sent'] = sent
        if cut: await w.drain(); raise Abort()
        if delay or chunk > 0 or w.transport.get_write_buffer_size() > 65536:
            await w.drain()
            if w.is_closing(): raise ConnectionResetError
    if chunked: w.write(b'0\r\n\r\n')
    await w.drain()


def debug(c):
    p = c.path
    if p == '/__mock/last': return jreply(LOG[-1] if LOG else None)
    if p == '/__mock/log': return jreply(list(LOG)[-int(c.query.get('n', 20)):])
    if p == '/__mock/stats': return jreply(dict(STATS))
    if p == '/__mock/reset': LOG.clear(); STATS.clear(); return jreply({'ok': True})
    return jreply({'error': 'unknown debug path'}, 404)


async def conn(r, w):
    STATS['connections'] += 1
    try:
        while True:
            req = await read_request(r)
            if req is None: break
            method, target, h = req
            body = await read_body(r, w, h)
            keep = h.get('connection', '').lower() != 'close'
            c = Call(method, target, h, body)
            if c.path.startswith('/__mock/'):
                await send(c, debug(c), w, keep, {})
            else:
                STATS['requests'] += 1
                rec = {'id': c.id, 'method': method, 'target': target, 'headers': dict(h), 'body_bytes': len(body), 'body': body[:65536].decode('utf-8', 'backslashreplace'), 'status': None, 'sent': 0, 'finished': False}
                LOG.append(rec)
                try: rep = route(c)
                except Exception as e: rep = error(c, 500, f'mock bug: {e!r}')
                rec['status'] = rep.status; STATS[f'status_{rep.status}'] += 1
                try: await send(c, rep, w, keep, rec); rec['finished'] = True
                except (ConnectionError, Abort): rec['aborted'] = True; STATS['aborted'] += 1; break
            if not keep: break
    except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.LimitOverrunError):
        pass
    finally:
        w.close()


async def main():
    s = await asyncio.start_server(conn, ARGS.host, ARGS.port, limit=1 << 20, backlog=1024)
    if not ARGS.quiet: print('mock upstream on http://%s:%d' % s.sockets[0].getsockname()[:2], flush=True)
    async with s: await s.serve_forever()


if __name__ == '__main__':
    ap = argparse.ArgumentParser()
    ap.add_argument('--port', type=int, default=24050); ap.add_argument('--host', default='127.0.0.1')
    ap.add_argument('--chunk', type=int, default=0); ap.add_argument('--delay-ms', type=float, default=0)
    ap.add_argument('--log', type=int, default=2000); ap.add_argument('--quiet', action='store_true')
    ARGS = ap.parse_args(); LOG = collections.deque(maxlen=ARGS.log)
    try: asyncio.run(main())
    except KeyboardInterrupt: pass
