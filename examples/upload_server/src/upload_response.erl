%% The bytes of a response in HTTP/1.1 (RFC 9112).
-module(upload_response).

-export([whole/4, head/3, data/2, last/1, persistence/2]).

-export_type([coding/0, persistence/0]).

%% How the end of a body is told: by its length, by a last chunk, by the end of the
%% connection, or there is none.
-type coding() :: length | chunked | close | none.
-type persistence() :: keep | close | close_1_0.

%% A response whose body is there; its length is told unless it is known already, or that
%% of another body, which HEAD did not ask for.
-spec whole(Method :: binary(), py_web:head(), binary(), persistence()) -> iodata().
whole(Method, #{status := Status, headers := Headers} = Head, Body, Persistence) ->
    Length =
        case Method =:= <<"HEAD">> orelse has_length(Headers) orelse not has_body(Status) of
            true -> [];
            false -> [<<"Content-Length: ">>, integer_to_binary(byte_size(Body)), <<"\r\n">>]
        end,
    [lines(Head), Length, connection(Persistence), <<"\r\n">>, Body].

%% The head of one whose body is still being made.
-spec head(binary(), py_web:head(), persistence()) -> {iodata(), coding()}.
head(Method, #{status := Status, headers := Headers} = Head, Persistence) ->
    Coding = coding(Method, has_body(Status), has_length(Headers), Persistence),
    Line = [<<"Transfer-Encoding: chunked\r\n">> || Coding =:= chunked],
    {[lines(Head), Line, connection(persistence(Coding, Persistence)), <<"\r\n">>], Coding}.

coding(<<"HEAD">>, _HasBody, _HasLength, _Persistence) -> none;
coding(_Method, false, _HasLength, _Persistence) -> none;
coding(_Method, true, true, _Persistence) -> length;
coding(_Method, true, false, close_1_0) -> close;
coding(_Method, true, false, _Persistence) -> chunked.

-spec data(coding(), binary()) -> iodata().
data(_Coding, <<>>) -> [];
data(chunked, Data) -> [integer_to_binary(byte_size(Data), 16), <<"\r\n">>, Data, <<"\r\n">>];
data(_Coding, Data) -> [Data].

-spec last(coding()) -> iodata().
last(chunked) -> <<"0\r\n\r\n">>;
last(_Coding) -> [].

%% Whether the connection can be used again.
-spec persistence(coding(), persistence()) -> persistence().
persistence(close, _Persistence) -> close;
persistence(_Coding, Persistence) -> Persistence.

lines(#{status := Status, phrase := Phrase, headers := Headers}) ->
    [<<"HTTP/1.1 ">>, integer_to_binary(Status), $\s, Phrase, <<"\r\n">>,
     <<"Date: ">>, mochiweb_clock:rfc1123(), <<"\r\n">>
     | [[Name, <<": ">>, Value, <<"\r\n">>] || {Name, Value} <- Headers]].

connection(keep) -> [];
connection(_) -> <<"Connection: close\r\n">>.

has_length(Headers) ->
    lists:any(fun({Name, _}) ->
        byte_size(Name) =:= 14 andalso string:lowercase(Name) =:= <<"content-length">>
    end, Headers).

has_body(Status) ->
    Status >= 200 andalso Status =/= 204 andalso Status =/= 304.
