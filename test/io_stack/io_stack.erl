%% The tests of CPython's readers in this node: the buffers are made here, and each live one
%% is written by a process of its own.
-module(io_stack).

-export([main/0]).

%% Less than one piece, so that a reader gets one piece a read.
-define(WATERMARK, 1).

%% With the arguments after -extra, which are those of main.py.  Halts the node.
main() ->
    {ok, _} = application:ensure_all_started(erlpy),
    ok = py:register_function(io_stack_buffer, fun buffer/3),
    {ok, Context} = py_context:new(),
    Words = [unicode:characters_to_binary(Word) || Word <- init:get_plain_arguments()],
    case py:call(Context, main, run_in_node, [Words]) of
        {ok, Status} ->
            halt(Status);
        {error, {Type, Message, Traceback}} ->
            io:format(standard_error, "~ts: ~ts~n~ts~n", [Type, Message, Traceback]),
            halt(1)
    end.

%% What plain_buffer of feeds.py makes.
buffer(Pieces, false, Seekable) ->
    {ok, Buffer} = py_buffer:new(#{seekable => Seekable}),
    ok = write(Buffer, Pieces),
    Buffer;
buffer(Pieces, true, Seekable) ->
    {ok, Buffer} = py_buffer:new(#{high_watermark => ?WATERMARK, seekable => Seekable}),
    {First, Rest} = lists:split(min(1, length(Pieces)), Pieces),
    [ok = py_buffer:write(Buffer, Piece) || Piece <- First],
    _ = spawn(fun() -> ok = write(Buffer, Rest ++ [<<>>]) end),
    Buffer.

%% The reader may close before the end.
write(Buffer, [Piece | Pieces]) ->
    case py_buffer:write(Buffer, Piece) of
        ok -> write(Buffer, Pieces);
        {error, closed} -> ok
    end;
write(Buffer, []) ->
    py_buffer:close(Buffer).
