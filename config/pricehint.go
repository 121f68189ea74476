package config

import (
	"net/url"
	"strings"
)

// PriceHint returns the price list's name of the provider, for PriceTable.Lookup: PricedAs if set; else the vendor that
// the host of BaseURL belongs to, because a proxy in front of a vendor's own host is rare and a name says little; else
// the provider's own name, or the list's spelling of it.
func (p Provider) PriceHint() string {
	if p.PricedAs != "" {
		return p.PricedAs
	}
	if u, err := url.Parse(p.BaseURL); err == nil {
		host := "." + strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
		for _, h := range vendorHosts {
			if strings.HasSuffix(host, h.suffix) {
				return h.namespace
			}
		}
	}
	if namespace, ok := namespaceNames[p.Name]; ok {
		return namespace
	}
	return p.Name
}

// vendorHosts tell a vendor by the end of its host name. Longer ends stand before the shorter ones that they end in.
var vendorHosts = []struct{ suffix, namespace string }{
	{".api.openai.com", "openai"},
	{".api.anthropic.com", "anthropic"},
	{".generativelanguage.googleapis.com", "gemini"},
	{".aiplatform.googleapis.com", "vertex_ai"},
	{"-aiplatform.googleapis.com", "vertex_ai"},
	{".openai.azure.com", "azure"},
	{".cognitiveservices.azure.com", "azure"},
	{".services.ai.azure.com", "azure_ai"},
	{".models.ai.azure.com", "azure_ai"},
	{".api.mistral.ai", "mistral"},
	{".codestral.mistral.ai", "codestral"},
	{".api.groq.com", "groq"},
	{".openrouter.ai", "openrouter"},
	{".api.deepseek.com", "deepseek"},
	{".api.x.ai", "xai"},
	{".api.together.xyz", "together_ai"},
	{".api.together.ai", "together_ai"},
	{".api.fireworks.ai", "fireworks_ai"},
	{".api.perplexity.ai", "perplexity"},
	{".api.cohere.com", "cohere"},
	{".api.cohere.ai", "cohere"},
	{".api.cerebras.ai", "cerebras"},
	{".api.sambanova.ai", "sambanova"},
	{".api.deepinfra.com", "deepinfra"},
	{".api.studio.nebius.com", "nebius"},
	{".api.tokenfactory.nebius.com", "nebius"},
	{".api.novita.ai", "novita"},
	{".api.moonshot.ai", "moonshot"},
	{".api.moonshot.cn", "moonshot"},
	{".dashscope.aliyuncs.com", "dashscope"},
	{".dashscope-intl.aliyuncs.com", "dashscope"},
	{".volces.com", "volcengine"},
	{".api.z.ai", "zai"},
	{".api.minimax.io", "minimax"},
	{".ai-gateway.vercel.sh", "vercel_ai_gateway"},
	{".api.hyperbolic.xyz", "hyperbolic"},
	{".api.inference.wandb.ai", "wandb"},
	{".api.lambda.ai", "lambda_ai"},
	{".integrate.api.nvidia.com", "nvidia_nim"},
	{".api.voyageai.com", "voyage"},
	{".api.ai21.com", "ai21"},
	{".api.scaleway.ai", "scaleway"},
	{".api.githubcopilot.com", "github_copilot"},
	{".cloud.databricks.com", "databricks"},
	{".azuredatabricks.net", "databricks"},
	{".snowflakecomputing.com", "snowflake"},
}

// namespaceNames are other names that people give to providers of the list.
var namespaceNames = map[string]string{
	"azure_openai": "azure",
	"claude":       "anthropic",
	"fireworks":    "fireworks_ai",
	"google":       "gemini",
	"grok":         "xai",
	"nvidia":       "nvidia_nim",
	"together":     "together_ai",
	"vertex":       "vertex_ai",
	"vertexai":     "vertex_ai",
}
