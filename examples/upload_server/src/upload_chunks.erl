%% A chunked body (RFC 9112, 7.1), decoded as it arrives: bytes of a chunk need not wait for
%% its end.  Extensions and trailers are passed over.
-module(upload_chunks).

-export([new/0, decode/2]).

-export_type([state/0]).

%% What comes next, and what has come of it when that is less than a line.
-opaque state() :: {size | {data, pos_integer()} | data_end | trailers, binary()}.

%% Bytes of the line of a chunk's size, with its extensions, and of a line of the trailers.
-define(MAX_LINE, 8192).
%% Hexadecimal digits of a size: below 2^60.
-define(MAX_DIGITS, 15).

-spec new() -> state().
new() ->
    {size, <<>>}.

%% @doc The data in what has come, in its pieces, and what follows: `{more, State}', or
%% `{done, Rest}' where the rest belongs to the next request.
-spec decode(binary(), state()) ->
    {[binary()], {more, state()} | {done, binary()}} | {error, bad_chunk}.
decode(Data, {Next, <<>>}) -> decode(Next, Data, []);
decode(Data, {Next, Begun}) -> decode(Next, <<Begun/binary, Data/binary>>, []).

decode({data, Left}, Data, Pieces) when byte_size(Data) < Left ->
    {lists:reverse([Data || Data =/= <<>>] ++ Pieces), {more, {{data, Left - byte_size(Data)}, <<>>}}};
decode({data, Left}, Data, Pieces) ->
    {Piece, Rest} = split_binary(Data, Left),
    decode(data_end, Rest, [Piece | Pieces]);
decode(data_end, <<"\r\n", Rest/binary>>, Pieces) ->
    decode(size, Rest, Pieces);
decode(data_end, Data, Pieces) when Data =:= <<>>; Data =:= <<"\r">> ->
    {lists:reverse(Pieces), {more, {data_end, Data}}};
decode(data_end, _Data, _Pieces) ->
    {error, bad_chunk};
decode(Next, Data, Pieces) ->
    case binary:split(Data, <<"\r\n">>) of
        [Line, Rest] when byte_size(Line) =< ?MAX_LINE -> line(Next, Line, Rest, Pieces);
        [Begun] when byte_size(Begun) =< ?MAX_LINE -> {lists:reverse(Pieces), {more, {Next, Begun}}};
        _ -> {error, bad_chunk}
    end.

line(trailers, <<>>, Rest, Pieces) ->
    {lists:reverse(Pieces), {done, Rest}};
line(trailers, _Line, Rest, Pieces) ->
    decode(trailers, Rest, Pieces);
line(size, Line, Rest, Pieces) ->
    case size_of(Line, 0, 0) of
        {ok, 0} -> decode(trailers, Rest, Pieces);
        {ok, Size} -> decode({data, Size}, Rest, Pieces);
        error -> {error, bad_chunk}
    end.

size_of(<<Digit, Line/binary>>, Size, Count) when Count < ?MAX_DIGITS, Digit >= $0, Digit =< $9 ->
    size_of(Line, Size * 16 + Digit - $0, Count + 1);
size_of(<<Digit, Line/binary>>, Size, Count) when Count < ?MAX_DIGITS, Digit >= $a, Digit =< $f ->
    size_of(Line, Size * 16 + Digit - $a + 10, Count + 1);
size_of(<<Digit, Line/binary>>, Size, Count) when Count < ?MAX_DIGITS, Digit >= $A, Digit =< $F ->
    size_of(Line, Size * 16 + Digit - $A + 10, Count + 1);
size_of(_Line, _Size, 0) ->
    error;
size_of(Line, Size, _Count) ->
    case string:trim(Line, leading, " \t") of
        <<>> -> {ok, Size};
        <<";", _/binary>> = Extension -> extension(Extension, Size);
        _ -> error
    end.

%% A line feed of its own would end the line for others.
extension(Extension, Size) ->
    case binary:match(Extension, [<<"\n">>, <<"\r">>]) of
        nomatch -> {ok, Size};
        _ -> error
    end.
