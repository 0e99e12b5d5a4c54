"""OpenAI's own client: `openai_client.py URL KEY MODEL PROMPT PICTURE…` prints the most probable first tokens, a line a picture."""

import base64
import json
import sys
from pathlib import Path

import openai


def main(url: str, key: str, model: str, prompt: str, *pictures: str) -> None:
    client = openai.OpenAI(base_url=url, api_key=key)
    for picture in pictures:
        data = base64.b64encode(Path(picture).read_bytes()).decode()
        seen = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
        answer = client.chat.completions.create(
            model=model,
            logprobs=True,
            top_logprobs=20,
            max_tokens=1,
            temperature=0,
            messages=[{"role": "user", "content": [{"type": "text", "text": prompt}, seen]}],
        )
        first = answer.choices[0].logprobs.content[0]
        named = [(one.token, one.logprob) for one in first.top_logprobs]
        print(json.dumps({"top": named, "tokens": [answer.usage.prompt_tokens, answer.usage.completion_tokens]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
