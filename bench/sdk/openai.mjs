// What the contract has to know of the OpenAI SDK, whatever endpoint is asked.
import OpenAI from 'openai';

export const openai = {
  dialect: 'openai',
  version: '/v1',
  forms: ['/openai', '/openai/v1', '/v1'],
  variable: 'OPENAI_BASE_URL',
  client: (baseURL, { fetch, key, retries, timeout, headers }) =>
    new OpenAI({ baseURL, apiKey: key, maxRetries: retries, timeout, fetch, defaultHeaders: headers }),
  errors: {
    400: OpenAI.BadRequestError,
    401: OpenAI.AuthenticationError,
    403: OpenAI.PermissionDeniedError,
    404: OpenAI.NotFoundError,
    409: OpenAI.ConflictError,
    422: OpenAI.UnprocessableEntityError,
    429: OpenAI.RateLimitError,
    500: OpenAI.InternalServerError,
    503: OpenAI.InternalServerError,
  },
  gateway: { 413: OpenAI.APIError, 502: OpenAI.InternalServerError, 504: OpenAI.InternalServerError },
  failure: OpenAI.APIError,
  codeOf: (e) => e.code,
  commented: [], // the SDK takes an event without data for a broken one
  retried: ['429', '503', 'reset-head'],
  lags: false,
  leaves: true,
  aborted: (e) => e instanceof OpenAI.APIUserAbortError,
  timedOut: (e) => e instanceof OpenAI.APIConnectionTimeoutError,
};
