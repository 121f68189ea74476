package sim

import (
	"bytes"
	"strconv"
	"time"
)

// refuse makes a the provider's 429.
func (x *exchange) refuse(a *answer, r *refusal) {
	a.reset()
	switch {
	case x.dialect == dialectAnthropic:
		a.anthropicError(x, 429, "rate_limit_error", x.anthropicRefusal(r))
		a.header("x-should-retry", "true")
	case x.dialect == dialectGemini:
		x.geminiRefusal(a, r)
		return // it has the wait in its body
	case x.azure():
		x.azureRefusal(a, r)
	default:
		kind := "tokens"
		if r.of == measureRequests || r.of == measureConcurrent {
			kind = "requests"
		}
		a.openAIError(429, x.openAIRefusal(r), kind, "", "rate_limit_exceeded")
	}
	if x.use.quota.silent || r.tooLarge {
		return
	}
	a.headerInt("retry-after", ceilSeconds(r.wait))
	if x.dialect == dialectOpenAI {
		a.headerInt("retry-after-ms", int((r.wait+time.Millisecond-1)/time.Millisecond))
	}
}

// openAIRefusal is such as "Rate limit reached for gpt-4o in organization org-… on tokens per min (TPM): Limit 30000, Used 28770, …".
func (x *exchange) openAIRefusal(r *refusal) string {
	const more = " Visit https://platform.openai.com/account/rate-limits to learn more."
	where := x.in.model + " in organization org-simulated on "
	if r.of == measureConcurrent {
		return "Rate limit reached for " + where + "concurrent requests: Limit " + decimal(r.most) + ", Used " + decimal(r.used) + ", Requested 1." + more
	}
	what, initial := [...]string{"requests", "tokens", "input tokens", "output tokens"}[r.of], [...]string{"R", "T", "T", "T"}[r.of]
	switch r.limit.period {
	case time.Minute:
		where += what + " per min (" + initial + "PM): "
	case time.Hour:
		where += what + " per hour (" + initial + "PH): "
	case 24 * time.Hour:
		where += what + " per day (" + initial + "PD): "
	case time.Second:
		where += what + " per sec (" + initial + "PS): "
	default:
		where += what + " per " + r.limit.period.String() + ": "
	}
	where += "Limit " + decimal(int64(r.limit.most))
	if r.tooLarge {
		return "Request too large for " + where + ", Requested " + decimal(r.asked) +
			". The input or output tokens must be reduced in order to run successfully." + more
	}
	return "Rate limit reached for " + where + ", Used " + decimal(r.used) + ", Requested " + decimal(r.asked) + ". Please try again in " +
		short(r.wait) + "." + more
}

// anthropicRefusal names the organization's limit.
func (x *exchange) anthropicRefusal(r *refusal) string {
	if r.of == measureConcurrent {
		return "Number of concurrent connections has exceeded your rate limit. Please try again later or contact sales at " +
			"https://www.anthropic.com/contact-sales to discuss your options for a rate limit increase."
	}
	what := [...]string{"requests", "tokens", "input tokens", "output tokens"}[r.of]
	return "This request would exceed your organization's rate limit of " + thousands(int64(r.limit.most)) + " " + what + " per " + periodName(r.limit.period) +
		" (org: 5f0c3c1e-0000-4000-8000-51a5b1a7ed00, model: " + x.in.model + "). For details, refer to: https://docs.claude.com/en/api/rate-limits. " +
		"You can see the response headers for current usage. Please reduce the prompt length or the maximum tokens requested, or try again later. " +
		"You may also contact sales at https://claude.com/contact-sales to discuss your options for a rate limit increase."
}

// geminiRefusal is RESOURCE_EXHAUSTED with the quota that failed and the time to wait.
func (x *exchange) geminiRefusal(a *answer, r *refusal) {
	metric, id, value := "generate_requests_per_model", "GenerateRequestsPerMinutePerProjectPerModel", int64(r.limit.most)
	switch r.of {
	case measureConcurrent:
		id, value = "GenerateRequestsConcurrentPerProjectPerModel", r.most
	case measureTokens, measureInput:
		metric, id = "generate_content_paid_tier_input_token_count", "GenerateContentPaidTierInputTokensPerModelPerMinute"
	case measureOutput:
		metric, id = "generate_content_paid_tier_output_token_count", "GenerateContentPaidTierOutputTokensPerModelPerMinute"
	}
	const rates = "https://ai.google.dev/gemini-api/docs/rate-limits"
	a.status, a.ctype, a.instant = 429, geminiJSON, true
	a.str("{\n  \"error\": {\n    \"code\": 429,\n    \"message\": \"You exceeded your current quota, please check your plan and billing details. " +
		"For more information on this error, head to: " + rates + ".\",\n    \"status\": \"RESOURCE_EXHAUSTED\",\n    \"details\": [\n" +
		"      {\n        \"@type\": \"type.googleapis.com/google.rpc.QuotaFailure\",\n        \"violations\": [\n          {\n" +
		"            \"quotaMetric\": \"generativelanguage.googleapis.com/" + metric + "\",\n            \"quotaId\": \"" + id + "\",\n" +
		"            \"quotaDimensions\": {\n              \"location\": \"global\",\n              \"model\": ")
	a.quote(x.in.model)
	a.str("\n            },\n            \"quotaValue\": \"" + decimal(value) + "\"\n          }\n        ]\n      },\n" +
		"      {\n        \"@type\": \"type.googleapis.com/google.rpc.Help\",\n        \"links\": [\n          {\n" +
		"            \"description\": \"Learn more about Gemini API quotas\",\n            \"url\": \"" + rates + "\"\n          }\n        ]\n      }")
	if !x.use.quota.silent && !r.tooLarge {
		a.str(",\n      {\n        \"@type\": \"type.googleapis.com/google.rpc.RetryInfo\",\n        \"retryDelay\": \"")
		a.str(strconv.FormatFloat(r.wait.Round(time.Millisecond).Seconds(), 'f', -1, 64) + "s\"\n      }")
	}
	a.str("\n    ]\n  }\n}\n")
}

// azure tells requests of Azure OpenAI by their path.
func (x *exchange) azure() bool { return bytes.Contains(x.req.path, []byte("/openai/deployments/")) }

func (x *exchange) azureRefusal(a *answer, r *refusal) {
	operation := "ChatCompletions_Create"
	switch x.op {
	case opCompletions:
		operation = "Completions_Create"
	case opEmbeddings:
		operation = "Embeddings_Create"
	}
	what := "token"
	if r.of == measureRequests || r.of == measureConcurrent {
		what = "call"
	}
	a.status, a.ctype, a.instant = 429, "application/json", true
	a.str(`{"error":{"code":"429","message": `)
	a.quote("Requests to the " + operation + " Operation under Azure OpenAI API version " + x.req.queryValue("api-version") + " have exceeded " + what +
		" rate limit of your current OpenAI S0 pricing tier. Please retry after " + itoa(ceilSeconds(r.wait)) + " seconds. " +
		"Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit.")
	a.str("}}")
}

func ceilSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// short is a duration as OpenAI writes it: 6ms, 8.64s, 1m0s.
func short(d time.Duration) string {
	return (d + time.Millisecond - 1).Truncate(time.Millisecond).String()
}

// thousands writes 30,000.
func thousands(n int64) string {
	s := decimal(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func periodName(d time.Duration) string {
	switch d {
	case time.Second:
		return "second"
	case time.Minute:
		return "minute"
	case time.Hour:
		return "hour"
	case 24 * time.Hour:
		return "day"
	}
	return d.String()
}
