"""A tiny random model on disk, for tests of what reads or trains one."""

from __future__ import annotations

from pathlib import Path

from rlaif.quiet import quiet

import pytest

TEXT = "what helps against asthma fever cough ? a doctor gives yes no maybe rest water tablets and of the is . Answer: Question: yes"
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}<|im_start|>"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2, 2 layers, width 64, random weights; a byte-level BPE to which the words of TEXT are single tokens."""
    with quiet():
        import torch
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

        special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=448, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
        core.train_from_iterator([TEXT] * 8, trainer)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token=special[0], pad_token=special[0], eos_token=special[2])
        tokenizer.chat_template = TEMPLATE
        torch.manual_seed(0)
        config = Qwen2Config(
            vocab_size=core.get_vocab_size(), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, eos_token_id=2, pad_token_id=0, bos_token_id=None,
            initializer_range=0.3,
        )  # fmt: skip
        folder = tmp_path_factory.mktemp("tiny")
        Qwen2ForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder
