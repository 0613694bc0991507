// Written by scripts/generate_docs.py from native_host/protocol. Do not edit.

/** A LoRA adapter and how strongly it applies. */
export interface AdapterUse {
  name: string;
  scale?: number;
}

/** `models.apply_template`. `chat_template_kwargs` are switches of the model's template by their names, such as `enable_thinking`. */
export interface ApplyTemplateParams {
  messages: ChatMessage[];
  model?: string | null;
  tools?: Record<string, unknown>[] | null;
  documents?: Record<string, unknown>[] | null;
  add_generation_prompt?: boolean;
  chat_template_kwargs?: Record<string, unknown> | null;
}

/** Answer to `models.apply_template`. */
export interface ApplyTemplateResult {
  prompt: string;
}

/** The model's answer. `content` is empty where it only called tools; `reasoning` is what it thought before. */
export interface AssistantMessage {
  role?: "assistant";
  content: string;
  reasoning?: string | null;
  tool_calls?: ToolCall[] | null;
}

/** Whether `authenticate` must come next, how it may be done, and the nonce for it (hex, for 30 s). */
export interface AuthInfo {
  required: boolean;
  schemes: string[];
  nonce?: string | null;
}

/** `authenticate`: `client_nonce` and `mac` (hex of 32 bytes each), or `api_key`. */
export interface AuthenticateParams {
  client_nonce?: string | null;
  mac?: string | null;
  api_key?: string | null;
}

/** `mac` proves that the host knows the secret too; absent where an API key was given. */
export interface AuthenticateResult {
  mac?: string | null;
}

/** What this host can do beyond the minimum. */
export interface Capabilities {
  methods: string[];
  notifications: string[];
}

/** One message of a conversation. A part of `content` is `{"type": "text", "text": …}`; parts of other types pass here with whatever they hold, for the service to refuse by name. `reasoning` is what an assistant thought before it spoke. A `tool` message is the result of the call `tool_call_id`. */
export interface ChatMessage {
  role: "assistant" | "system" | "tool" | "user";
  content?: string | Record<string, unknown>[] | null;
  reasoning?: string | null;
  name?: string | null;
  tool_calls?: ToolCall[] | null;
  tool_call_id?: string | null;
}

/** `chat`. `tool_choice` is `auto` where there are tools and nothing else is said. `documents` and `chat_template_kwargs` (its switches by their names, such as `enable_thinking`) are for the model's template. `prompt` names a system prompt, which is wrapped around a system message at the beginning; `prompt_variables` are what its template takes beside that. */
export interface ChatParams {
  model?: string | null;
  max_tokens?: number;
  temperature?: number | null;
  top_p?: number | null;
  top_k?: number | null;
  min_p?: number | null;
  repeat_penalty?: number | null;
  presence_penalty?: number | null;
  frequency_penalty?: number | null;
  logit_bias?: Record<string, number> | null;
  seed?: number | null;
  stop?: string | string[] | null;
  stream?: boolean;
  logprobs?: number | null;
  response_format?: ResponseFormat | null;
  adapters?: AdapterUse[] | null;
  timeout_s?: number | null;
  priority?: number;
  keep_alive?: string | number | null;
  session?: string | null;
  prefix_cache?: boolean;
  response_cache?: boolean;
  ignore_eos?: boolean;
  deterministic?: boolean;
  resumable?: boolean;
  messages: ChatMessage[];
  prompt?: string | null;
  prompt_variables?: Record<string, string> | null;
  tools?: Tool[] | null;
  tool_choice?: "auto" | "none" | "required" | NamedTool | null;
  parallel_tool_calls?: boolean;
  documents?: Record<string, unknown>[] | null;
  chat_template_kwargs?: Record<string, unknown> | null;
}

/** Answer to `chat`. `left_out`, in a session: how many of its oldest messages the prompt was without. */
export interface ChatResult {
  model: string;
  usage: Usage;
  timings: Timings;
  seed: number;
  cached?: boolean | null;
  message: AssistantMessage;
  finish_reason: "length" | "stop" | "tool_calls";
  logprobs?: TokenLogprob[] | null;
  left_out?: number | null;
}

/** `$/chunk`: one piece of a result that is too long for a frame; `data` is base64. */
export interface ChunkNotification {
  id: unknown;
  index: number;
  of: number;
  data: string;
}

/** The answer that stands for a chunked result; `sha256` is that of the joined bytes, in hex. */
export interface ChunkedResult {
  chunked: boolean;
  chunks: number;
  sha256: string;
}

/** Who calls. `max_frame_in`: the longest frame it accepts, in bytes. `origin`: filled in by a relay. */
export interface ClientInfo {
  name: string;
  version: string;
  max_frame_in?: number | null;
  origin?: string | null;
}

/** `detokenize`. */
export interface DetokenizeParams {
  tokens: number[];
  model?: string | null;
}

/** Answer to `detokenize`; bytes that are no UTF-8 are replaced. */
export interface DetokenizeResult {
  text: string;
}

/** `embed`: one text or several. `normalize` scales each vector to length 1. */
export interface EmbedParams {
  input: string | string[];
  model?: string | null;
  normalize?: boolean;
  timeout_s?: number | null;
  keep_alive?: string | number | null;
}

/** Answer to `embed`: one vector an input, in order. */
export interface EmbedResult {
  embeddings: number[][];
  dimensions: number;
  model: string;
  usage: Usage;
}

/** The next piece of a call: its name once, then its arguments piece by piece. */
export interface FunctionDelta {
  name?: string | null;
  arguments?: string;
}

/** A function that a model may call. `parameters` is the JSON schema of an object, in the dialect of `response_format`; arguments are held to it whether `strict` is asked for or not. `return` is for templates that tell it. */
export interface FunctionDescription {
  name: string;
  description?: string | null;
  parameters?: Record<string, unknown> | null;
  strict?: boolean | null;
  return?: Record<string, unknown> | null;
}

/** Names a function of `tools`. */
export interface FunctionName {
  name: string;
}

/** `generate`: exactly one of `prompt` (text or token ids) and `prompts`. */
export interface GenerateParams {
  model?: string | null;
  max_tokens?: number;
  temperature?: number | null;
  top_p?: number | null;
  top_k?: number | null;
  min_p?: number | null;
  repeat_penalty?: number | null;
  presence_penalty?: number | null;
  frequency_penalty?: number | null;
  logit_bias?: Record<string, number> | null;
  seed?: number | null;
  stop?: string | string[] | null;
  stream?: boolean;
  logprobs?: number | null;
  response_format?: ResponseFormat | null;
  adapters?: AdapterUse[] | null;
  timeout_s?: number | null;
  priority?: number;
  keep_alive?: string | number | null;
  session?: string | null;
  prefix_cache?: boolean;
  response_cache?: boolean;
  ignore_eos?: boolean;
  deterministic?: boolean;
  resumable?: boolean;
  prompt?: string | number[] | null;
  prompts?: string[] | null;
}

/** Answer to `generate`: `text` and `finish_reason` for a `prompt`, `texts` for `prompts`. */
export interface GenerateResult {
  model: string;
  usage: Usage;
  timings: Timings;
  seed: number;
  cached?: boolean | null;
  text?: string | null;
  finish_reason?: "length" | "stop" | "tool_calls" | null;
  texts?: GeneratedText[] | null;
  logprobs?: TokenLogprob[] | null;
}

/** One member of `texts`. */
export interface GeneratedText {
  text: string;
  finish_reason: "length" | "stop" | "tool_calls";
  usage: Usage;
  logprobs?: TokenLogprob[] | null;
}

/** Answer to `hardware.info`. The inner shapes are `tabagent_model`'s: see its `_native.pyi`. */
export interface HardwareInfoResult {
  cpu: Record<string, unknown>;
  cpu_variant: string;
  gpus: Record<string, unknown>[];
  memory: Record<string, unknown>;
  runtime: Record<string, unknown>;
}

/** Answer to `health`. `problems` says what is degraded. */
export interface HealthResult {
  status: "degraded" | "ok";
  uptime_s: number;
  requests_in_flight: number;
  problems?: string[];
}

/** A model that was found. `status`: `added` (with `dry_run` it would be), `known` before, or `unusable` for the reason in `problem`. */
export interface ImportedModel {
  model: string;
  format: string;
  path: string;
  status: "added" | "known" | "unusable";
  size_bytes?: number | null;
  problem?: string | null;
  notes?: string[];
}

/** `initialize`. */
export interface InitializeParams {
  protocol_version: string;
  client: ClientInfo;
}

/** Answer to `initialize`. */
export interface InitializeResult {
  protocol_version: string;
  server: ServerInfo;
  capabilities: Capabilities;
  limits: Limits;
  auth: AuthInfo;
}

/** Bytes a frame, seen from the host: it takes `max_frame_in` and sends no more than `max_frame_out`. */
export interface Limits {
  max_frame_in: number;
  max_frame_out: number;
  max_batch: number;
}

/** What the predictions are made from: memory that models may take, how fast memory was read here, and by how many threads. */
export interface MachineFigures {
  available_bytes: number;
  read_bytes_per_s: number;
  threads: number;
}

/** Answer to `models.inspect`: what the file says of itself; `details` is what only some formats have. */
export interface ModelInspection {
  format: string;
  file: string;
  size_bytes: number;
  name?: string | null;
  architecture?: string | null;
  parameters?: number | null;
  quantization?: string | null;
  context_length?: number | null;
  vocab_size?: number | null;
  chat_template?: string | null;
  details?: Record<string, unknown>;
}

/** One member of the answer to `models.list`. Sizes in bytes, lengths in tokens. `memory_bytes` is what all processes of the model hold now; `requests` how many use or await it; `unload_in_s` how long it stays loaded if nobody does; a `pinned` one stays. The `default` one answers requests that name none. */
export interface ModelListing {
  name: string;
  format: string;
  type: string;
  state: "absent" | "available" | "draining" | "loaded" | "loading";
  size_bytes: number | null;
  memory_bytes?: number | null;
  requests?: number;
  unload_in_s?: number | null;
  pinned?: boolean;
  default?: boolean;
  context_length?: number | null;
  capabilities: string[];
}

/** `models.delete`: a model in use is refused unless `force` cancels what it does. */
export interface ModelsDeleteParams {
  model: string;
  force?: boolean;
}

/** Answer to `models.delete`. Files go only if a pull brought them; `kept` says why what is left was left. */
export interface ModelsDeleteResult {
  model: string;
  removed_files: string[];
  freed_bytes: number;
  kept?: string | null;
}

/** `models.estimate`: a model, and what is to differ from its entry in `models.json`. */
export interface ModelsEstimateParams {
  model?: string | null;
  context_length?: number | null;
  gpu_layers?: number | null;
  parallel?: number | null;
  kv_cache_tokens?: number | null;
  kv_type?: "f16" | "f32" | "q4_0" | "q8_0" | null;
  flash_attention?: "auto" | "off" | "on" | null;
}

/** Answer to `models.estimate`, in bytes: weights (the mapped file and copies of it), KV cache, scratch space with outputs, and all of it with what a worker needs for itself. `fits`: the machine has that much left now, no model unloaded. */
export interface ModelsEstimateResult {
  model: string;
  weights_bytes: number;
  kv_bytes: number;
  compute_bytes: number;
  total_bytes: number;
  fits: boolean;
}

/** `models.import`: `ollama`, `lmstudio`, `huggingface`, or a folder's absolute path. `dry_run` only shows. */
export interface ModelsImportParams {
  from: string;
  dry_run?: boolean;
}

/** Answer to `models.import`. */
export interface ModelsImportResult {
  models: ImportedModel[];
  dry_run: boolean;
  models_file: string;
}

/** `models.inspect`: exactly one of a model of the registry and a file's path. */
export interface ModelsInspectParams {
  model?: string | null;
  path?: string | null;
}

/** `models.load`: a model, and what is to differ from its entry in `models.json` this once. Sizes and times are written as there. */
export interface ModelsLoadParams {
  model?: string | null;
  device?: string | null;
  quantization?: string | null;
  max_memory?: string | number | Record<string, string | number> | null;
  keep_alive?: string | number | null;
  context_length?: number | null;
  threads?: number | null;
  gpu_layers?: number | null;
  mlock?: boolean | null;
  parallel?: number | null;
  kv_cache_tokens?: number | null;
  kv_type?: "f16" | "f32" | "q4_0" | "q8_0" | null;
  flash_attention?: "auto" | "off" | "on" | null;
}

/** Answer to `models.load`. */
export interface ModelsLoadResult {
  model: string;
  state?: "loaded";
  context_length: number;
  load_ms: number;
  memory_bytes?: number | null;
}

/** `models.pull`: `hf:owner/repo[:quant]`, `file:PATH` or `https://…#sha256=…`; `name` is what the model is to be called here. */
export interface ModelsPullParams {
  source: string;
  name?: string | null;
}

/** Answer to `models.pull`. `path` is a file or a folder; `fetched_bytes` came over the network just now; `models_file` is the models.json that names the model. */
export interface ModelsPullResult {
  model: string;
  source: string;
  format: string;
  path: string;
  size_bytes: number;
  fetched_bytes: number;
  models_file: string;
}

/** `models.recommend`: for contexts of this many tokens. */
export interface ModelsRecommendParams {
  context_length?: number;
}

/** Answer to `models.recommend`, best first. */
export interface ModelsRecommendResult {
  machine: MachineFigures;
  models: RecommendedModel[];
  explanation: string;
}

/** `models.unload`: waits for what runs, unless `force` cancels it. */
export interface ModelsUnloadParams {
  model: string;
  force?: boolean;
}

/** A `tool_choice` that leaves no choice. */
export interface NamedTool {
  type: "function";
  function: FunctionName;
}

/** For methods that take none: `{}` or nothing at all. */
export interface NoParams {
}

/** Answer to `ping`. */
export interface PingResult {
  pong: boolean;
  uptime_s: number;
}

/** `$/progress`: how far a long step has come; `fraction` 0…1, or null where the end is not known. What is counted in bytes tells them too. */
export interface ProgressNotification {
  id: unknown;
  stage: string;
  fraction: number | null;
  message: string;
  done_bytes?: number;
  total_bytes?: number;
}

/** One member of `results`: `index` into `documents`; a higher `score` means more relevant. */
export interface RankedDocument {
  index: number;
  score: number;
}

/** A model, with what it would take and do here. `command` gets one that is not `installed`. */
export interface RecommendedModel {
  name: string;
  weights_bytes: number;
  memory_bytes: number;
  decode_tokens_per_s: number;
  fits: boolean;
  parameters?: number | null;
  quantization?: string | null;
  installed?: boolean;
  command?: string | null;
}

/** `rerank`: `top_n` keeps the best ones only. */
export interface RerankParams {
  query: string;
  documents: string[];
  model?: string | null;
  top_n?: number | null;
  timeout_s?: number | null;
}

/** Answer to `rerank`, the most relevant document first. */
export interface RerankResult {
  results: RankedDocument[];
  model: string;
  usage: Usage;
}

/** What the answer must look like; the member that goes with `type` says how. */
export interface ResponseFormat {
  type: "grammar" | "json_object" | "json_schema" | "regex" | "text";
  json_schema?: Record<string, unknown> | boolean | null;
  regex?: string | null;
  grammar?: string | null;
}

/** Who answers. */
export interface ServerInfo {
  name: string;
  version: string;
  pid: number;
}

/** One member of the answer to `sessions.list`; `messages` is how many it has. */
export interface SessionListing {
  session: string;
  created_at: number;
  ttl_s: number;
  model?: string | null;
  system?: string | null;
  messages: number;
}

/** `sessions.get` and `sessions.delete`. */
export interface SessionParams {
  session: string;
}

/** `sessions.create`: a conversation that the host keeps. `model` and `system` are for all of its chats; `ttl_s` is how long it is kept after it was last used. */
export interface SessionsCreateParams {
  model?: string | null;
  system?: string | null;
  ttl_s?: number;
}

/** Answer to `sessions.create`. */
export interface SessionsCreateResult {
  session: string;
}

/** Answer to `sessions.get`. Of the `messages`, the first `left_out` are no longer in the prompt. */
export interface SessionsGetResult {
  session: string;
  created_at: number;
  ttl_s: number;
  model?: string | null;
  system?: string | null;
  messages: ChatMessage[];
  left_out: number;
}

/** `$/stream`: the next piece of a request's text. `seq` counts from 0 without a gap. The first one of a `resumable` request has the name under which its stream can be taken up again. In a `chat`, thoughts come as `reasoning` and calls as `tool_calls`, and `text` can be empty. */
export interface StreamNotification {
  id: unknown;
  seq: number;
  text: string;
  index?: number;
  logprobs?: TokenLogprob[];
  stream?: string;
  reasoning?: string;
  tool_calls?: ToolCallDelta[];
}

/** `streams.resume`: a stream by its name, and the first piece that is missing. */
export interface StreamsResumeParams {
  stream: string;
  from_seq?: number;
}

/** Milliseconds and tokens a second; None where there was nothing to measure. */
export interface Timings {
  queue_ms?: number | null;
  load_ms?: number | null;
  first_token_ms?: number | null;
  prefill_tokens_per_s?: number | null;
  decode_tokens_per_s?: number | null;
}

/** A generated token and the likeliest candidates at its position. */
export interface TokenLogprob {
  token: number;
  text: string;
  logprob: number;
  top: TopLogprob[];
}

/** `tokenize`. */
export interface TokenizeParams {
  text: string;
  model?: string | null;
  add_special?: boolean;
  parse_special?: boolean;
}

/** Answer to `tokenize`. */
export interface TokenizeResult {
  tokens: number[];
}

/** One member of `tools`. */
export interface Tool {
  type: "function";
  function: FunctionDescription;
}

/** A call of a function that a model asked for. */
export interface ToolCall {
  id?: string | null;
  type?: string;
  function: ToolFunction;
}

/** What has come of the call number `index`; the first one of a call has `id`, `type` and the name. */
export interface ToolCallDelta {
  index: number;
  id?: string | null;
  type?: "function" | null;
  function: FunctionDelta;
}

/** Which function, and its arguments as JSON text (of a message that a peer sends, or as an object). */
export interface ToolFunction {
  name: string;
  arguments: string | Record<string, unknown>;
}

/** A candidate for one position; `logprob` is natural and finite. */
export interface TopLogprob {
  token: number;
  text: string;
  logprob: number;
}

/** Tokens. `cached_tokens` of the prompt were not computed again. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  cached_tokens: number;
}

export type ErrorKind = "parse_error" | "invalid_request" | "frame_too_large" | "batch_too_large" | "duplicate_id" | "method_not_found" | "invalid_params" | "internal_error" | "cancelled" | "unauthenticated" | "not_initialized" | "permission_denied" | "unsupported_protocol" | "model_not_found" | "model_load_failed" | "insufficient_memory" | "unsupported" | "invalid_model_file" | "model_absent" | "download_failed" | "adapter_not_found" | "session_not_found" | "stream_not_found" | "rate_limited" | "overloaded" | "timeout" | "input_too_long" | "content_rejected" | "quota_exceeded" | "shutting_down" | "worker_crashed";

export interface Methods {
  "initialize": { params: InitializeParams; result: InitializeResult };
  "authenticate": { params: AuthenticateParams; result: AuthenticateResult };
  "ping": { params: NoParams; result: PingResult };
  "health": { params: NoParams; result: HealthResult };
  "shutdown": { params: NoParams; result: null };
  "rpc.discover": { params: NoParams; result: Record<string, unknown> };
  "generate": { params: GenerateParams; result: GenerateResult };
  "chat": { params: ChatParams; result: ChatResult };
  "streams.resume": { params: StreamsResumeParams; result: Record<string, unknown> };
  "sessions.create": { params: SessionsCreateParams; result: SessionsCreateResult };
  "sessions.get": { params: SessionParams; result: SessionsGetResult };
  "sessions.list": { params: NoParams; result: SessionListing[] };
  "sessions.delete": { params: SessionParams; result: null };
  "embed": { params: EmbedParams; result: EmbedResult };
  "rerank": { params: RerankParams; result: RerankResult };
  "tokenize": { params: TokenizeParams; result: TokenizeResult };
  "detokenize": { params: DetokenizeParams; result: DetokenizeResult };
  "models.list": { params: NoParams; result: ModelListing[] };
  "models.inspect": { params: ModelsInspectParams; result: ModelInspection };
  "models.estimate": { params: ModelsEstimateParams; result: ModelsEstimateResult };
  "models.load": { params: ModelsLoadParams; result: ModelsLoadResult };
  "models.unload": { params: ModelsUnloadParams; result: null };
  "models.pull": { params: ModelsPullParams; result: ModelsPullResult };
  "models.import": { params: ModelsImportParams; result: ModelsImportResult };
  "models.delete": { params: ModelsDeleteParams; result: ModelsDeleteResult };
  "models.recommend": { params: ModelsRecommendParams; result: ModelsRecommendResult };
  "models.apply_template": { params: ApplyTemplateParams; result: ApplyTemplateResult };
  "hardware.info": { params: NoParams; result: HardwareInfoResult };
  "metrics": { params: NoParams; result: string };
}
