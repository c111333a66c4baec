"""4-bit layers (gptqmodel's and bitsandbytes') as the plain layers they stand for."""

from __future__ import annotations

from collections.abc import Iterator

from rlaif.quiet import quiet

with quiet():
    import torch
    from torch import nn
    from transformers import PreTrainedModel


def quantized_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if hasattr(module, "dequantize_weight") or type(module).__name__ == "Linear4bit":
            yield name, module


def to_plain_layers(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Replace every 4-bit layer by a plain Linear with the values it stands for."""
    for name, layer in list(quantized_layers(model)):
        model.set_submodule(name, plain_linear(float_weight(layer).to(dtype), layer.bias))
    for key in ("quantization_config", "_pre_quantization_dtype"):
        model.config.__dict__.pop(key, None)
    for key in ("is_loaded_in_4bit", "is_quantized"):
        setattr(model, key, False)
    model.quantization_method = None
    model.hf_quantizer = None


def float_weight(layer: nn.Module) -> torch.Tensor:
    """The weight of a GPTQ, NF4 or plain layer as (out_features, in_features)."""
    if hasattr(layer, "dequantize_weight"):  # gptqmodel keeps (in, out)
        return (
            type(layer).dequantize_weight(layer).T.contiguous()
        )  # not the compiled one that some kernels put on the instance
    if type(layer).__name__ == "Linear4bit":
        from bitsandbytes.functional import dequantize_4bit

        return dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return layer.weight


def plain_linear(weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Linear:
    new = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    new.weight = nn.Parameter(weight.detach(), requires_grad=False)
    if bias is not None:
        new.bias = nn.Parameter(bias.detach().to(weight.dtype), requires_grad=False)
    return new
