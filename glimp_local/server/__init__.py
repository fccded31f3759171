"""The server: a pair behind the interface that other programs speak (OpenAI's), for `glimp serve`."""
